"""Checkpoints as open_clip saves them: ``open_clip_config.json`` and one safetensors file.

The tensors are those of a Hugging Face CLIPModel under other names; query, key and value lie in
one, and the two projections are transposed (open_clip, src/open_clip/model.py).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dpl_jax.clip.config import LEGACY_EOS_ID, ClipConfig, TextConfig, VisionConfig
from dpl_jax.errors import WeightsError, WeightsNotFoundError
from dpl_jax.files.json import read_json

CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors")
HUGGING_FACE = ("config.json", "model*.safetensors*")
# The causal mask, which older files hold, and what OpenAI's own archives note beside the weights.
BUFFERS = ("attn_mask", "text.attn_mask", "input_resolution", "context_length", "vocab_size")
NAMES = {
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm": "visual.ln_pre",
    "vision_model.post_layernorm": "visual.ln_post",
    "vision_model.encoder.layers": "visual.transformer.resblocks",
    "visual_projection.weight": "visual.proj",
    "text_model.embeddings.token_embedding": "token_embedding",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm": "ln_final",
    "text_model.encoder.layers": "transformer.resblocks",
    "text_projection.weight": "text_projection",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
THIRDS = {"q": 0, "k": 1, "v": 2}
# Fields that a plain CLIP has, and those that change nothing once it is trained. Any other field
# that is set describes a model that the towers here are not.
FIELDS = {
    "model_cfg": ("embed_dim", "quick_gelu", "vision_cfg", "text_cfg"),
    "vision_cfg": ("layers", "width", "head_width", "mlp_ratio", "patch_size", "image_size"),
    "text_cfg": ("context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"),
}
UNUSED = {"custom_text", "output_dict", "init_logit_scale", "output_tokens", "patch_dropout"}
UNUSED |= {"pad_id", "timm_model_pretrained", "timm_pool", "timm_proj", "cast_dtype"}
USUAL = {"pool_type": ("tok", "argmax"), "pos_embed_type": ("learnable",)}
USUAL |= {"proj_type": ("linear",), "tokenizer_mode": ("clean",)}


class Source(NamedTuple):
    """Where the values of a tensor of Hugging Face's layout are stored.

    Attributes:
      name: of the stored tensor.
      third: which third of its first axis; None for all of it.
      transposed: whether its two axes are swapped.
    """

    name: str
    third: int | None = None
    transposed: bool = False

    def shape(self, stored: tuple[int, ...]) -> tuple[int, ...]:
        """The tensor's shape, from that of the stored one."""
        if self.third is not None:
            return (stored[0] // 3, *stored[1:]) if stored and stored[0] % 3 == 0 else stored
        return stored[::-1] if self.transposed else stored

    def take(self, stored: np.ndarray) -> np.ndarray:
        """The tensor's values."""
        if self.third is not None:
            return np.split(stored, 3)[self.third]
        return stored.T if self.transposed else stored


def is_open_clip(folder: Path) -> bool:
    """Whether a folder has open_clip's files, and not (all) those of Hugging Face's layout."""
    complete = all(any(folder.glob(pattern)) for pattern in HUGGING_FACE)
    return not complete and (folder / CONFIG).is_file()


def weight_file(folder: Path) -> Path:
    """The safetensors file of an open_clip checkpoint.

    Raises:
      WeightsNotFoundError: when there is none; says how to convert another format.
    """
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise WeightsNotFoundError(
        f"{folder} has {CONFIG} but no {WEIGHTS[0]}. open_clip's .bin and .pt files can run code "
        "and are not read; where PyTorch is installed, load one with weights_only=True and save it "
        f"as {WEIGHTS[0]} (safetensors.torch.save_file; docs/faq.md has the three lines)."
    )


def read_open_clip(folder: Path) -> dict[str, Any]:
    """The contents of a folder's ``open_clip_config.json``.

    Raises:
      WeightsError: when it is damaged.
    """
    try:
        contents = read_json(folder / CONFIG)
    except (ValueError, OSError) as error:
        raise WeightsError(f"{error} Download it again.") from error
    if not isinstance(contents, dict):
        raise WeightsError(f"{folder / CONFIG} does not hold a JSON object; download it again.")
    return contents


def read_sizes(folder: Path) -> ClipConfig:
    """The sizes in a folder's ``open_clip_config.json``.

    Raises:
      WeightsError: when it is damaged, or describes another model than a CLIP with a ViT.
    """
    where, model = folder / CONFIG, read_open_clip(folder).get("model_cfg")
    vision, text = (_checked(where, model, part) for part in ("vision_cfg", "text_cfg"))
    model = _checked(where, {"model_cfg": model}, "model_cfg")
    activation = "quick_gelu" if model.get("quick_gelu") else "gelu"
    try:
        width, text_width = vision["width"], text["width"]
        return ClipConfig(
            projection_dim=model["embed_dim"],
            vision=VisionConfig(
                hidden_size=width,
                intermediate_size=int(width * vision.get("mlp_ratio", 4.0)),
                num_hidden_layers=vision["layers"],
                num_attention_heads=width // vision.get("head_width", 64),
                hidden_act=activation,
                image_size=vision.get("image_size", 224),
                patch_size=vision["patch_size"],
            ),
            text=TextConfig(
                hidden_size=text_width,
                intermediate_size=int(text_width * text.get("mlp_ratio", 4.0)),
                num_hidden_layers=text["layers"],
                num_attention_heads=text["heads"],
                hidden_act=activation,
                vocab_size=text.get("vocab_size", 49408),
                max_position_embeddings=text.get("context_length", 77),
                eos_token_id=LEGACY_EOS_ID,  # open_clip reads the row of the largest id
            ),
        )
    except (KeyError, TypeError, ArithmeticError, ValueError) as error:
        raise WeightsError(f"{where}: a size is missing or cannot work ({error}).") from error


def preprocessing_fields(folder: Path, image_size: int) -> dict[str, Any]:
    """``preprocess_cfg`` in the spelling of transformers' ``CLIPImageProcessor``.

    Raises:
      ValueError: for a field that is not understood.
    """
    given = read_open_clip(folder).get("preprocess_cfg") or {}
    known = {"size", "mode", "mean", "std", "interpolation", "resize_mode", "fill_color"}
    if not isinstance(given, Mapping):
        raise ValueError("preprocess_cfg is not a mapping")
    if unknown := sorted(map(str, given.keys() - known)):
        raise ValueError(f"preprocess_cfg has the unknown field {unknown[0]!r:.100}")
    for name, usual in (("resize_mode", "shortest"), ("mode", "RGB")):
        if (given.get(name) or usual) != usual:
            raise ValueError(f"preprocess_cfg: {name} is {given[name]!r}, not {usual!r}")
    interpolation = given.get("interpolation") or "bicubic"
    fields = {
        "size": image_size,
        "crop_size": image_size,
        # open_clip evaluates with bicubic where training chose at random (transform.py).
        "resample": "bicubic" if interpolation == "random" else interpolation,
    }
    named = {"image_mean": given.get("mean"), "image_std": given.get("std")}
    return fields | {name: value for name, value in named.items() if value is not None}


def sources(names: Collection[str], stored: Collection[str]) -> dict[str, Source]:
    """Where each tensor of Hugging Face's layout is stored in an open_clip file.

    Args:
      names: of Hugging Face's layout.
      stored: in the file; newer models have the text tower below ``text.``.
    """
    prefix = "text." if "text.positional_embedding" in stored else ""
    return {name: _source(name, prefix) for name in names}


def _source(name: str, prefix: str) -> Source:
    ours = name
    for theirs, renamed in NAMES.items():
        ours = re.sub(rf"(^|(?<=\.)){re.escape(theirs)}(?=\.|$)", renamed, ours)
    if not ours.startswith("visual.") and ours != "logit_scale":
        ours = prefix + ours
    if part := re.fullmatch(r"(.+)\.self_attn\.([qkv])_proj\.(weight|bias)", ours):
        return Source(f"{part[1]}.attn.in_proj_{part[3]}", third=THIRDS[part[2]])
    return Source(ours, transposed=name.endswith("_projection.weight"))


def _checked(where: Path, config: Any, part: str) -> Mapping[str, Any]:
    """The fields of one part, none of them unknown.

    Raises:
      WeightsError: naming the field.
    """
    fields = config.get(part) if isinstance(config, Mapping) else None
    if not isinstance(fields, Mapping):
        raise WeightsError(f"{where} has no {part}; download it again.")
    for name, value in fields.items():
        usual = value in USUAL.get(name, ()) if isinstance(value, str) else not value
        if name not in FIELDS[part] and name not in UNUSED and not usual:
            raise WeightsError(
                f"{where}: {part} sets {name} to {value!r:.100}, which the towers here do not "
                "have; dpl_jax reads CLIPs with a plain ViT and CLIP's own text tower."
            )
    return fields
