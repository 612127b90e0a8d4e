"""Loading of CLIP folders: every tensor used exactly once, or one error that says what is wrong."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.flax
import safetensors.numpy

from dpl_jax import load_clip
from dpl_jax.clip.config import from_hugging_face, read_config, to_hugging_face
from dpl_jax.clip.model import load_configured
from dpl_jax.clip.weights import (
    abstract_params,
    layout,
    load_params,
    save_params,
    weights_sha256,
)
from dpl_jax.config import check_config, get_config
from dpl_jax.errors import ConfigError, WeightsError, WeightsNotFoundError
from tests.support.small_clip import random_tensors, small_config, write_clip

CONFIG = small_config()
SIZES = from_hugging_face(CONFIG)
BIAS = "vision_model.encoder.layers.1.mlp.fc1.bias"
KERNEL = "text_model.encoder.layers.0.self_attn.q_proj.weight"


def folder_of(tmp_path: Path, tensors: dict[str, np.ndarray]) -> Path:
    return write_clip(tmp_path / "clip", CONFIG, tensors)


def assert_params_equal(ours: Any, expected: Any) -> None:
    for mine, theirs in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_every_value_has_its_place(tmp_path: Path) -> None:
    tensors = random_tensors(CONFIG)
    params = load_params(folder_of(tmp_path, tensors), SIZES)
    shapes = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), params)
    assert shapes == jax.tree.map(lambda leaf: (leaf.shape, jnp.float32), abstract_params(SIZES))
    stacked = params["image"]["encoder"]["layers"]["fc1"]["bias"]
    np.testing.assert_array_equal(stacked[1], tensors[BIAS])
    kernel = params["text"]["encoder"]["layers"]["attention"]["query"]["kernel"]
    np.testing.assert_array_equal(kernel[0], tensors[KERNEL].T)
    assert len(layout(SIZES)) == len(tensors)
    # every stored number once: the sums of squares agree
    stored = sum(float((tensor.astype(np.float64) ** 2).sum()) for tensor in tensors.values())
    loaded = sum(
        float((np.asarray(leaf, np.float64) ** 2).sum()) for leaf in jax.tree.leaves(params)
    )
    np.testing.assert_allclose(loaded, stored, rtol=1e-12)


def test_missing_and_unknown_tensors_are_listed(tmp_path: Path) -> None:
    tensors = random_tensors(CONFIG)
    del tensors[BIAS], tensors["logit_scale"]
    tensors["text_model.encoder.layers.7.mlp.fc1.bias"] = np.zeros(3, np.float32)
    with pytest.raises(WeightsError) as caught:
        load_params(folder_of(tmp_path, tensors), SIZES)
    lines = str(caught.value).splitlines()
    assert lines[1:] == [
        "  missing: logit_scale",
        f"  missing: {BIAS}",
        "  unknown: text_model.encoder.layers.7.mlp.fc1.bias",
    ]
    assert str(tmp_path) in lines[0]


def test_wrong_shapes_are_listed(tmp_path: Path) -> None:
    tensors = random_tensors(CONFIG)
    tensors[BIAS] = tensors[BIAS][:-1]
    tensors["text_projection.weight"] = tensors["text_projection.weight"].T.copy()
    patches = "vision_model.embeddings.patch_embedding.weight"
    tensors[patches] = tensors[patches][:, :1].copy()
    with pytest.raises(WeightsError) as caught:
        load_params(folder_of(tmp_path, tensors), SIZES)
    assert set(str(caught.value).splitlines()[1:]) == {
        f"  {BIAS}: (95,), expected (96,)",
        "  text_projection.weight: (16, 12), expected (12, 16)",
        f"  {patches}: (24, 1, 8, 8), expected (24, 3, 8, 8)",
    }


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_listed(tmp_path: Path, value: float) -> None:
    tensors = random_tensors(CONFIG)
    tensors[BIAS][3] = value
    with pytest.raises(WeightsError, match=f"{BIAS}: not finite"):
        load_params(folder_of(tmp_path, tensors), SIZES)


def test_position_ids_are_no_weights(tmp_path: Path) -> None:
    tensors = random_tensors(CONFIG)
    expected = load_params(folder_of(tmp_path, tensors), SIZES)
    for tower, count in (("text_model", 40), ("vision_model", 5)):
        tensors[f"{tower}.embeddings.position_ids"] = np.arange(count)[None]
    assert_params_equal(load_params(folder_of(tmp_path, tensors), SIZES), expected)


def shard(folder: Path, parts: int = 2) -> dict[str, Any]:
    """Cuts model.safetensors into several files with an index, and returns the index."""
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = [f"model-{part + 1:05d}-of-{parts:05d}.safetensors" for part in range(parts)]
    places = {tensor: names[i % parts] for i, tensor in enumerate(sorted(tensors))}
    for name in names:
        part = {tensor: tensors[tensor] for tensor, file in places.items() if file == name}
        safetensors.numpy.save_file(part, folder / name)
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return index


def test_several_files_with_an_index(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, random_tensors(CONFIG))
    expected = load_params(folder, SIZES)
    shard(folder)
    assert_params_equal(load_params(folder, SIZES), expected)


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "sub/part.safetensors"])
def test_an_index_stays_inside_its_folder(tmp_path: Path, name: str) -> None:
    folder = folder_of(tmp_path, random_tensors(CONFIG))
    index = shard(folder)
    index["weight_map"][BIAS] = name
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsError, match=re.escape(f"the index names {name!r}")):
        load_params(folder, SIZES)


def test_a_file_of_the_index_is_missing(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, random_tensors(CONFIG))
    shard(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"cannot be read.*model-00002-of-00002"):
        load_params(folder, SIZES)


@pytest.mark.parametrize("index", ["[]", "{", '{"weight_map": []}', '{"weight_map": {"a": 1}}'])
def test_a_damaged_index(tmp_path: Path, index: str) -> None:
    folder = folder_of(tmp_path, random_tensors(CONFIG))
    shard(folder)
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(WeightsError, match=re.escape(str(folder))):
        load_params(folder, SIZES)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_widened(tmp_path: Path, dtype: Any) -> None:
    folder = folder_of(tmp_path, random_tensors(CONFIG))
    full = load_params(folder, SIZES)
    half = {name: jnp.asarray(t, dtype) for name, t in random_tensors(CONFIG).items()}
    safetensors.flax.save_file(half, folder / "model.safetensors")
    expected = jax.tree.map(lambda leaf: leaf.astype(dtype).astype(jnp.float32), full)
    params = load_params(folder, SIZES)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(np.float32)}
    assert_params_equal(params, expected)


@pytest.mark.parametrize("damage", ["cut", "text"])
def test_a_damaged_file(tmp_path: Path, damage: str) -> None:
    folder = folder_of(tmp_path, random_tensors(CONFIG))
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100] if damage == "cut" else b"version https://git-lfs")
    with pytest.raises(WeightsError, match=r"cannot be read.*download them again"):
        load_params(folder, SIZES)


def test_no_safetensors(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, random_tensors(CONFIG))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    message = r"holds no model\.safetensors.*pytorch_model\.bin.*only safetensors"
    with pytest.raises(WeightsNotFoundError, match=message):
        load_params(folder, SIZES)


def test_save_and_load_again(tmp_path: Path) -> None:
    tensors = random_tensors(CONFIG)
    params = load_params(folder_of(tmp_path, tensors), SIZES)
    save_params(tmp_path, params, SIZES)
    written = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    assert set(written) == set(tensors)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(written[name], tensor)
    assert_params_equal(load_params(tmp_path, SIZES), params)


def test_saved_in_half_precision_it_takes_half_the_room(tmp_path: Path) -> None:
    params = load_params(folder_of(tmp_path, random_tensors(CONFIG)), SIZES)
    save_params(tmp_path, params, SIZES, np.float16)
    halves = jax.tree.map(lambda leaf: np.asarray(leaf, np.float16).astype(np.float32), params)
    assert_params_equal(load_params(tmp_path, SIZES), halves)
    written = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    assert {tensor.dtype for tensor in written.values()} == {np.dtype(np.float16)}


def test_config_there_and_back() -> None:
    assert from_hugging_face(to_hugging_face(SIZES)) == SIZES
    assert SIZES.layers == {"image": 3, "text": 2} and SIZES.widths == {"image": 24, "text": 16}


def test_sizes_that_a_config_leaves_out_are_transformers() -> None:
    """OpenAI's ViT-B/32 lists hardly anything; the rest are CLIPConfig's defaults."""
    config = from_hugging_face({"text_config": {"eos_token_id": 2}, "vision_config": {}})
    assert (config.text.hidden_size, config.text.num_attention_heads) == (512, 8)
    assert (config.text.vocab_size, config.text.max_position_embeddings) == (49408, 77)
    assert (config.vision.hidden_size, config.vision.patch_size) == (768, 32)
    assert config.text.hidden_act == config.vision.hidden_act == "quick_gelu"


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "no JSON object"),
        (b"\xff\xfe", "not valid JSON"),
        (json.dumps(CONFIG | {"model_type": "siglip"}), "'siglip' model"),
        (json.dumps(small_config(text={"hidden_act": "relu"})), "activation 'relu'"),
        (json.dumps(small_config(vision={"num_attention_heads": 5})), "24 is not a multiple of"),
    ],
)
def test_a_config_that_cannot_be_used(tmp_path: Path, contents: Any, message: str) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    with pytest.raises(WeightsError, match=message):
        read_config(file)


def test_a_folder_without_config(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match=r"has no config\.json"):
        load_clip(tmp_path)


def test_a_folder_without_tokenizer(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, random_tensors(CONFIG))
    (folder / "vocab.json").unlink()
    with pytest.raises(WeightsNotFoundError, match="has no tokenizer"):
        load_clip(folder).tokenize(["a cat"])


@pytest.mark.parametrize("path", ["no/such/folder", "./nothing", "/nothing/here", "nothing"])
def test_no_such_folder(path: str) -> None:
    with pytest.raises(WeightsNotFoundError, match=f"There is no folder {path}"):
        load_clip(path)


def test_neither_network_nor_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsNotFoundError) as caught:
        load_clip("dpl-jax-tests/no-such-clip", revision="abc")
    message = str(caught.value)
    assert "dpl-jax-tests/no-such-clip (revision abc)" in message
    assert "model.safetensors" in message and "configs/digits.py" in message


def test_unknown_dtype(clip_folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"float16.*float32 or bfloat16"):
        load_clip(clip_folder, dtype="float16")


def hub_cache(cache: Path, hub_id: str, *commits: str) -> list[str]:
    """Commits of a repository in the hub's cache, the last one its main; the SHA-256 of each."""
    repository = cache / f"models--{hub_id.replace('/', '--')}"
    for seed, commit in enumerate(commits):
        folder = repository / "snapshots" / commit
        folder.parent.mkdir(parents=True, exist_ok=True)
        write_clip(folder, CONFIG, random_tensors(CONFIG, seed))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commits[-1])
    files = [repository / "snapshots" / commit / "model.safetensors" for commit in commits]
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


def test_a_commit_of_the_hub_and_its_weights_are_pinned(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    commits = "a" * 40, "b" * 40
    old, new = hub_cache(tmp_path, "owner/clip", *commits)
    config = get_config().clip
    config.path, config.revision, config.sha256 = "owner/clip", commits[0], old.upper()
    pinned = load_configured(config)
    assert Path(pinned.folder).name == commits[0] and weights_sha256(pinned.folder) == old
    assert Path(load_clip("owner/clip", sha256=new).folder).name == commits[1]
    config.revision = ""  # the branch has moved on
    with pytest.raises(WeightsError, match=rf"of owner/clip .* is {new}, .* is '{old.upper()}'"):
        load_configured(config)
    del config.sha256  # a run of an older version
    assert Path(load_configured(config).folder).name == commits[1]


def test_other_weights_are_refused_before_anything_of_them_is_read(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, random_tensors(CONFIG))
    (folder / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(
        WeightsError, match=f"SHA-256 is {hashlib.sha256(b'no tensors').hexdigest()}"
    ):
        load_clip(folder, sha256="0" * 64)


@pytest.mark.parametrize("sha256", ["main", "0" * 63, "sha256:" + "0" * 64, "g" * 64])
def test_what_is_no_sha256_is_told(sha256: str) -> None:
    config = get_config()
    config.clip.sha256 = sha256
    with pytest.raises(ConfigError, match=f"clip.sha256 is '{sha256}'; .* 64 hexadecimal digits"):
        check_config(config)
