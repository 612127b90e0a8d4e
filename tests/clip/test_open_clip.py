"""Checkpoints of open_clip are the same CLIPs, under other names."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

import dpl_jax
from dpl_jax.clip import names
from dpl_jax.clip.names import LAION, OPENAI, embedded_folder, to_hub_id
from dpl_jax.errors import DataError, WeightsError, WeightsNotFoundError
from dpl_jax.runs.results import weights_sha256
from tests.support.small_clip import (
    EOS,
    PIECES,
    TEXT,
    VISION,
    random_tensors,
    small_config,
    write_clip,
)

GELU = {"hidden_act": "gelu"}
CONFIG = small_config(text=GELU | {"eos_token_id": EOS}, vision=GELU)
OPEN_CLIP: dict[str, Any] = {
    "model_cfg": {
        "embed_dim": 12,
        "vision_cfg": {
            "image_size": 16,
            "layers": 3,
            "width": 24,
            "head_width": 8,
            "patch_size": 8,
        },
        "text_cfg": {
            "context_length": 40,
            "vocab_size": len(PIECES),
            "width": 16,
            "heads": 2,
            "layers": 2,
        },
    },
    "preprocess_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.2], "resize_mode": "shortest"},
}


def open_clip_tensors(tensors: dict[str, np.ndarray], text: str = "") -> dict[str, np.ndarray]:
    """The tensors as open_clip names them, written down tower by tower."""
    found = {
        "visual.class_embedding": tensors["vision_model.embeddings.class_embedding"],
        "visual.conv1.weight": tensors["vision_model.embeddings.patch_embedding.weight"],
        "visual.positional_embedding": tensors["vision_model.embeddings.position_embedding.weight"],
        "visual.proj": tensors["visual_projection.weight"].T,
        f"{text}token_embedding.weight": tensors["text_model.embeddings.token_embedding.weight"],
        f"{text}positional_embedding": tensors["text_model.embeddings.position_embedding.weight"],
        f"{text}text_projection": tensors["text_projection.weight"].T,
        "logit_scale": tensors["logit_scale"],
    }
    pairs = [("visual.ln_pre", "vision_model.pre_layrnorm")]
    pairs += [("visual.ln_post", "vision_model.post_layernorm")]
    pairs += [(f"{text}ln_final", "text_model.final_layer_norm")]
    for ours, theirs, layers in (("visual", "vision_model", VISION), (text, "text_model", TEXT)):
        start = "visual." if ours == "visual" else text
        for layer in range(layers["num_hidden_layers"]):
            here = f"{start}transformer.resblocks.{layer}"
            there = f"{theirs}.encoder.layers.{layer}"
            pairs += [(f"{here}.ln_1", f"{there}.layer_norm1")]
            pairs += [(f"{here}.ln_2", f"{there}.layer_norm2")]
            pairs += [(f"{here}.mlp.c_fc", f"{there}.mlp.fc1")]
            pairs += [(f"{here}.mlp.c_proj", f"{there}.mlp.fc2")]
            pairs += [(f"{here}.attn.out_proj", f"{there}.self_attn.out_proj")]
            for part in ("weight", "bias"):
                found[f"{here}.attn.in_proj_{part}"] = np.concatenate(
                    [tensors[f"{there}.self_attn.{name}_proj.{part}"] for name in "qkv"]
                )
    for here, there in pairs:
        found |= {f"{here}.{part}": tensors[f"{there}.{part}"] for part in ("weight", "bias")}
    return {name: np.array(tensor, order="C") for name, tensor in found.items()}


def write_open_clip(folder: Path, config: dict[str, Any], tensors: dict[str, Any]) -> Path:
    write_clip(folder, CONFIG, random_tensors(CONFIG))  # for its tokenizer
    (folder / "config.json").unlink()
    (folder / "model.safetensors").unlink()
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "open_clip_model.safetensors")
    return folder


def changed(part: str, **fields: Any) -> dict[str, Any]:
    config = json.loads(json.dumps(OPEN_CLIP))
    place = config if part == "preprocess_cfg" else config["model_cfg"]
    (place if part == "model_cfg" else place[part]).update(fields)
    return config


@pytest.mark.parametrize("text", ["", "text."])
def test_the_same_numbers_as_from_hugging_faces_layout(tmp_path: Path, text: str) -> None:
    tensors = random_tensors(CONFIG)
    buffers = {"attn_mask": np.zeros((40, 40), np.float32)}
    theirs = write_open_clip(
        tmp_path / "open_clip", OPEN_CLIP, open_clip_tensors(tensors, text) | buffers
    )
    clip = dpl_jax.load_clip(theirs)
    expected = dpl_jax.load_clip(write_clip(tmp_path / "hf", CONFIG, tensors))
    for ours, other in zip(
        jax.tree.leaves(clip.params), jax.tree.leaves(expected.params), strict=True
    ):
        np.testing.assert_array_equal(ours, other)
    images = jnp.asarray(np.random.default_rng(0).standard_normal((2, 16, 16, 3)), jnp.float32)
    ids = clip.tokenize(["a cat", "a longer dog"])
    logits = dpl_jax.zero_shot_logits(clip, images, ids)
    np.testing.assert_array_equal(logits, dpl_jax.zero_shot_logits(expected, images, ids))
    how = clip.preprocessing
    assert (how.size, how.crop, how.mean, how.std) == (16, 16, (0.5, 0.4, 0.3), (0.2,) * 3)
    digests = {weights_sha256(str(folder)) for folder in (theirs, tmp_path / "hf")}
    assert len(digests) == 2  # of their own files, and not of none


def test_openais_activation_is_read(tmp_path: Path) -> None:
    tensors = open_clip_tensors(random_tensors(CONFIG))
    clip = dpl_jax.load_clip(
        write_open_clip(tmp_path / "clip", changed("model_cfg", quick_gelu=True), tensors)
    )
    assert clip.sizes.text.hidden_act == clip.sizes.vision.hidden_act == "quick_gelu"


def test_hugging_faces_files_go_first_where_there_are_both(tmp_path: Path) -> None:
    tensors = random_tensors(CONFIG)
    folder = write_clip(tmp_path / "clip", CONFIG, tensors)
    (folder / "open_clip_config.json").write_text("{}")
    assert dpl_jax.load_clip(folder).sizes.projection_dim == 12


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "has no vision_cfg"),
        (changed("vision_cfg", timm_model_name="vit_base"), "timm_model_name to 'vit_base'"),
        (changed("vision_cfg", layers=[3, 4, 6, 3]), "num_hidden_layers is"),
        (changed("vision_cfg", pool_type="avg"), "pool_type to 'avg'"),
        (changed("vision_cfg", no_ln_pre=True), "no_ln_pre"),
        (changed("text_cfg", hf_model_name="roberta-base"), "hf_model_name"),
        (changed("text_cfg", no_causal_mask=True), "no_causal_mask"),
        (changed("text_cfg", width="16"), "cannot work"),
        (changed("model_cfg", init_logit_bias=-10), "init_logit_bias"),
        (changed("text_cfg", vocab_size=7), "token_embedding.weight"),
    ],
)
def test_another_model_is_refused_by_name(
    tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    tensors = open_clip_tensors(random_tensors(CONFIG))
    folder = write_open_clip(tmp_path / "clip", config, tensors)
    with pytest.raises(WeightsError) as caught:
        dpl_jax.load_clip(folder)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"), [("resize_mode", "squash"), ("interpolation", "nothing"), ("unknown", 1)]
)
def test_another_preprocessing_is_refused_by_name(tmp_path: Path, field: str, value: Any) -> None:
    tensors = open_clip_tensors(random_tensors(CONFIG))
    folder = tmp_path / "clip"
    write_open_clip(folder, changed("preprocess_cfg", **{field: value}), tensors)
    name = value if isinstance(value, str) else field
    with pytest.raises(DataError, match=rf"open_clip_config\.json.*{name}"):
        dpl_jax.load_clip(folder)


def test_other_formats_are_told_how_to_convert(tmp_path: Path) -> None:
    tensors = open_clip_tensors(random_tensors(CONFIG))
    folder = write_open_clip(tmp_path / "clip", OPEN_CLIP, tensors)
    (folder / "open_clip_model.safetensors").rename(folder / "open_clip_pytorch_model.bin")
    with pytest.raises(WeightsNotFoundError, match=r"weights_only=True.*save_file"):
        dpl_jax.load_clip(folder)


@pytest.mark.parametrize(
    ("name", "hub_id"),
    [
        *OPENAI.items(),
        ("vit-b/16", "openai/clip-vit-base-patch16"),
        ("ViT-B-16", "openai/clip-vit-base-patch16"),
        ("ViT-B-16-quickgelu", "openai/clip-vit-base-patch16"),
        ("ViT-L-14-336", "openai/clip-vit-large-patch14-336"),
        ("ViT-L/14@336px", "openai/clip-vit-large-patch14-336"),
        ("ViT-B-16:openai", "openai/clip-vit-base-patch16"),
        ("ViT-B-32/laion2b_s34b_b79k", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
        ("ViT-L-14 datacomp_xl_s13b_b90k", "laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K"),
        ("ViT-H-14/laion2b_s32b_b79k", "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"),
        ("hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K", LAION["vit-b-32", "laion2b_s34b_b79k"]),
        ("openai/clip-vit-base-patch16", "openai/clip-vit-base-patch16"),
        ("someone/vit-b-16-of-theirs", "someone/vit-b-16-of-theirs"),
    ],
)
def test_short_names(name: str, hub_id: str) -> None:
    assert to_hub_id(name) == hub_id


def test_a_clip_of_this_package_goes_before_a_folder_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(names, "ASSETS", tmp_path / "assets")
    assert embedded_folder("tiny") is None
    with pytest.raises(WeightsNotFoundError, match="no folder small"):
        dpl_jax.load_clip("small")
    for folder in (tmp_path / "assets" / "small_clip", tmp_path / "small"):
        folder.mkdir(parents=True)
        write_clip(folder, CONFIG, random_tensors(CONFIG))
    assert dpl_jax.load_clip("small").folder == str(tmp_path / "assets" / "small_clip")
    assert embedded_folder("small_clip") is None and embedded_folder("../assets/small") is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("RN50", "ResNet"),
        ("ViT-H-14", "laion2b_s32b_b79k"),
        ("ViT-B-16/webli", "laion2b_s34b_b88k"),
        ("ViT-Q/16", "There is no folder|could it be downloaded"),
    ],
)
def test_short_names_that_are_not_known(
    name: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsNotFoundError, match=message):
        dpl_jax.load_clip(name)


def test_a_short_name_is_looked_for_under_its_hub_id(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsNotFoundError, match="openai/clip-vit-base-patch16"):
        dpl_jax.load_clip("ViT-B/16")


@pytest.mark.parametrize(
    ("sizes", "values"),
    [
        ({"eos_token_id": 5}, (EOS, 5)),
        ({"vocab_size": len(PIECES) + 8}, (len(PIECES), len(PIECES) + 8)),
        ({"vocab_size": len(PIECES) + 8, "eos_token_id": 2}, (len(PIECES), len(PIECES) + 8)),
        ({"vocab_size": len(PIECES) - 8, "eos_token_id": 2}, (len(PIECES), len(PIECES) - 8)),
    ],
)
def test_a_tokenizer_of_other_weights_is_one_error(
    tmp_path: Path, sizes: dict[str, int], values: tuple[int, int]
) -> None:
    config = small_config(text=sizes)
    clip = dpl_jax.load_clip(write_clip(tmp_path / "clip", config, random_tensors(config)))
    with pytest.raises(WeightsError, match="different checkpoints") as caught:
        clip.tokenize(["a cat"])
    assert all(str(value) in str(caught.value) for value in values)


def test_an_end_of_text_that_is_not_the_largest_id(tmp_path: Path) -> None:
    """With the legacy id 2 the row of the largest id is read."""
    config = small_config(text={"eos_token_id": 2})
    folder = write_clip(tmp_path / "clip", config, random_tensors(config))
    words = json.loads((folder / "vocab.json").read_text())
    end, other = "<|endoftext|>", PIECES[3]
    words[end], words[other] = words[other], words[end]
    (folder / "vocab.json").write_text(json.dumps(words))
    with pytest.raises(WeightsError, match=rf"ends texts with 3.*{EOS}"):
        dpl_jax.load_clip(folder).tokenize(["a cat"])
