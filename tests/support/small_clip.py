"""Small random CLIPs as folders in Hugging Face's format, written tensor by tensor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import pre_tokenizers

# Characters of the tokenizer, each alone and at the end of a word; then start and end of text.
ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
START, END = "<|startoftext|>", "<|endoftext|>"
PIECES = [*ALPHABET, *(letter + "</w>" for letter in ALPHABET), START, END]
EOS = len(PIECES) - 1

TEXT = {
    "vocab_size": len(PIECES),
    "hidden_size": 16,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 40,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "eos_token_id": EOS,
}
VISION = {
    "hidden_size": 24,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "num_channels": 3,
    "image_size": 16,
    "patch_size": 8,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}


def small_config(
    text: dict[str, Any] | None = None,
    vision: dict[str, Any] | None = None,
    projection_dim: int = 12,
) -> dict[str, Any]:
    """A config.json of unequal sizes, so that no axis can be taken for another."""
    return {
        "model_type": "clip",
        "projection_dim": projection_dim,
        "text_config": TEXT | (text or {}),
        "vision_config": VISION | (vision or {}),
    }


def random_tensors(config: dict[str, Any], seed: int = 0) -> dict[str, np.ndarray]:
    """Every tensor of a CLIPModel, none of them zero or one, so that each one matters."""
    text, vision = config["text_config"], config["vision_config"]
    features, channels, patch = (
        config["projection_dim"],
        vision["num_channels"],
        vision["patch_size"],
    )
    shapes: dict[str, tuple[int, ...]] = {
        "text_projection.weight": (features, text["hidden_size"]),
        "visual_projection.weight": (features, vision["hidden_size"]),
        "text_model.embeddings.token_embedding.weight": (text["vocab_size"], text["hidden_size"]),
        "text_model.embeddings.position_embedding.weight": (
            text["max_position_embeddings"],
            text["hidden_size"],
        ),
        "vision_model.embeddings.class_embedding": (vision["hidden_size"],),
        "vision_model.embeddings.patch_embedding.weight": (
            vision["hidden_size"],
            channels,
            patch,
            patch,
        ),
        "vision_model.embeddings.position_embedding.weight": (
            (vision["image_size"] // patch) ** 2 + 1,
            vision["hidden_size"],
        ),
        **_norm("vision_model.pre_layrnorm", vision),
        **_norm("vision_model.post_layernorm", vision),
        **_norm("text_model.final_layer_norm", text),
        **_layers("text_model", text),
        **_layers("vision_model", vision),
    }
    random = np.random.default_rng(seed)
    tensors = {name: _draw(random, name, shape) for name, shape in sorted(shapes.items())}
    return tensors | {"logit_scale": np.array(2.5, np.float32)}


def write_clip(folder: Path, config: dict[str, Any], tensors: dict[str, np.ndarray]) -> Path:
    """Writes config, weights and a tokenizer that reads letter by letter; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors")
    vocabulary = {piece: number for number, piece in enumerate(PIECES)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return folder


def _norm(name: str, config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{part}": (config["hidden_size"],) for part in ("weight", "bias")}


def _layers(model: str, config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    width, inner = config["hidden_size"], config["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {}
    for number in range(config["num_hidden_layers"]):
        prefix = f"{model}.encoder.layers.{number}"
        shapes |= _norm(f"{prefix}.layer_norm1", config) | _norm(f"{prefix}.layer_norm2", config)
        dense = {f"self_attn.{name}_proj": (width, width) for name in ("q", "k", "v", "out")}
        for name, shape in (dense | {"mlp.fc1": (inner, width), "mlp.fc2": (width, inner)}).items():
            shapes |= {f"{prefix}.{name}.weight": shape, f"{prefix}.{name}.bias": shape[:1]}
    return shapes


def _draw(random: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
    fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 1
    scale = 0.2 if len(shape) == 1 else 1.5 * fan_in**-0.5
    if "embedding" in name and "patch" not in name:
        scale = 0.5
    values = scale * random.standard_normal(shape)
    offset = 1.0 if "norm" in name.rpartition(".")[0] and name.endswith("weight") else 0.0
    return (values + offset).astype(np.float32)
