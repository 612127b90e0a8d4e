import dataclasses
import shutil
import signal
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from dpl_jax.clip.features import image_features
from dpl_jax.clip.model import load_clip
from dpl_jax.clip.towers import image_tower, text_tower
from dpl_jax.clip.weights import Params
from dpl_jax.data.folder import read_folder
from dpl_jax.errors import (
    CheckpointError,
    ConfigError,
    Interrupted,
    NumericsError,
    RunFolderError,
    TextTooLongError,
)
from dpl_jax.files.json import read_json, write_json
from dpl_jax.runs.metrics import read_metrics
from recipes.accuracy import accuracies
from recipes.sizes import clip_config
from recipes.small import train
from recipes.small.augment import augment
from recipes.small.config import get_config
from recipes.small.export import export
from recipes.small.loss import several_right
from recipes.small.names import read_names, read_words
from recipes.small.optimizer import make_optimizer, make_schedule
from recipes.small.photos import Photos
from recipes.small.state import State
from recipes.small.towers import encode_patches, encode_texts


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 12 and 4 photos: reddish and bluish noise."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("val", 4)):
        for name, channel in (("n1", 0), ("n2", 2)):
            folder = root / "set" / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 80, (16, 16, 3), np.uint8)
                pixels[..., channel] += 150
                Image.fromarray(pixels).save(folder / f"{i}.png")
    write_json(root / "words.json", {"names": {"rose": [["rose"], ["flower"]]}})
    names = {"n1": [["poppy"], ["flower"]], "n2": [["sea"], ["water"]]}
    write_json(root / "classes.json", {"names": names})
    shutil.copytree(root / "set" / "val", root / "task" / "test")
    shutil.copytree(root / "set" / "val", root / "task" / "train")
    return root


def recipe(photos: Path) -> ml_collections.ConfigDict:
    config = get_config()
    config.update(image_size=16, kept_patches=8, image_width=16, text_width=16, head_width=8)
    config.update(image_layers=2, text_layers=2, projection_dim=8, vocab_size=700)
    config.update(batch_size=8, captions=5, words=1, caption_length=60, warmup_steps=2)
    config.update(epochs=4, cooldown_epochs=2, log_every=2, look_every=6, learning_rate=1e-2)
    config.data.root, config.data.names = str(photos / "set"), str(photos / "classes.json")
    config.data.words = str(photos / "words.json")
    config.data.tasks = (str(photos / "task"),)
    return config


@pytest.fixture(scope="module")
def whole(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, State]:
    folder = tmp_path_factory.mktemp("whole")
    return folder, train.pretrain(recipe(photos), folder)


@pytest.fixture(scope="module")
def params(photos: Path, whole: tuple[Path, State]) -> Params:
    return whole[1].params


def test_training_tells_the_classes_of_photos_that_it_has_not_seen(
    whole: tuple[Path, State],
) -> None:
    rows = read_metrics(whole[0])
    assert [row["step"] for row in rows] == [2, 4, 6, 8, 10, 12]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert rows[-1]["epoch"] == 4 and all(row["images_per_second"] > 0 for row in rows)
    looks = [row for row in rows if "validation" in row]
    assert [row["step"] for row in looks] == [6, 12]
    assert looks[-1]["validation"] == 100 and 0 <= looks[-1]["task"] <= 100


def test_a_killed_run_goes_on_to_the_same_bits(
    whole: tuple[Path, State], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, original = recipe(photos), train.batch_at
    config.checkpoint_minutes = 0.0

    def killed(_config: Any, step: int, *others: Any) -> Any:
        if step == 7:
            raise KeyboardInterrupt
        return original(_config, step, *others)

    monkeypatch.setattr(train, "batch_at", killed)
    with pytest.raises(KeyboardInterrupt):
        train.pretrain(config, tmp_path)
    monkeypatch.setattr(train, "batch_at", original)
    state = train.pretrain(config, tmp_path)
    jax.tree.map(np.testing.assert_array_equal, state, whole[1])
    rows, expected = read_metrics(tmp_path), read_metrics(whole[0])
    assert [row["loss"] for row in rows] == [row["loss"] for row in expected]


def test_a_signal_ends_it_with_a_checkpoint(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = train.batch_at

    def stopping(_config: Any, step: int, *others: Any) -> Any:
        if step == 1:
            signal.raise_signal(signal.SIGTERM)
        return original(_config, step, *others)

    monkeypatch.setattr(train, "batch_at", stopping)
    with pytest.raises(Interrupted, match="after step 2"):
        train.pretrain(recipe(photos), tmp_path)
    assert (tmp_path / train.CHECKPOINT).is_file()


def test_another_recipe_or_a_damaged_checkpoint_is_refused(
    whole: tuple[Path, State], photos: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole[0], tmp_path / "run")
    before = (tmp_path / "run" / "config.json").read_bytes()
    config = recipe(photos)
    config.update(batch_size=4, epochs=5)
    with pytest.raises(RunFolderError, match="other settings of batch_size "):
        train.pretrain(config, tmp_path / "run")
    assert (tmp_path / "run" / "config.json").read_bytes() == before
    (tmp_path / "run" / train.CHECKPOINT).write_bytes(b"half of it")
    with pytest.raises(CheckpointError, match="cannot be read"):
        train.pretrain(recipe(photos), tmp_path / "run")


def test_a_run_can_be_given_more_epochs(
    whole: tuple[Path, State], photos: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole[0], tmp_path / "run")
    config = recipe(photos)
    config.epochs = 5
    assert train.pretrain(config, tmp_path / "run").step == 15
    assert read_json(tmp_path / "run" / "config.json")["epochs"] == 5


def test_the_exported_clip_is_the_average_in_half_precision(
    whole: tuple[Path, State], photos: Path, tmp_path: Path
) -> None:
    record = export(whole[0], tmp_path / "clip")
    assert (record["steps"], record["epochs"]) == (12, 4)
    assert record["zero_shot"]["validation"] == 100 and record["seconds"] >= 0
    text = (tmp_path / "clip" / "training.json").read_text()
    assert str(photos) not in text and '"image_width": 16' in text
    weights = load_file(tmp_path / "clip" / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {np.dtype(np.float16)}
    clip = load_clip(tmp_path / "clip")
    images = jax.random.normal(jax.random.key(1), (2, 16, 16, 3))
    average = whole[1].average["image"]
    expected = image_tower(clip.sizes).apply({"params": average}, images)
    np.testing.assert_allclose(image_features(clip, images), expected, rtol=0.02, atol=0.02)
    task = dataclasses.replace(read_folder(str(photos / "set")), classnames=("poppy", "sea"))
    assert accuracies(clip, task, 4, (1,)) == {"zero_shot": 100, "linear_probe": 100}
    with pytest.raises(ConfigError, match="not empty"):
        export(whole[0], tmp_path / "clip")
    with pytest.raises(ConfigError, match="has no checkpoint"):
        export(tmp_path, tmp_path / "other")


def test_the_loss_equals_its_sum_written_out() -> None:
    rng = np.random.default_rng(0)
    rows, others = rng.normal(size=(5, 3)), rng.normal(size=(4, 3))
    true = np.array([[1, 0, 0, 0], [1, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 1, 0]], bool)
    means = []
    for row, right in zip(rows, true, strict=True):
        cosines = [row @ b / np.linalg.norm(row) / np.linalg.norm(b) for b in others]
        weights = np.exp(5 * np.array(cosines))
        wrong = weights[~right].sum()
        losses = [-np.log(weights[j] / (weights[j] + wrong)) for j in np.flatnonzero(right)]
        if losses:
            means.append(np.mean(losses))
    arguments = (jnp.array(rows), jnp.array(others), jnp.log(5.0))
    found = several_right(*arguments, jnp.array(true))
    np.testing.assert_allclose(found, np.mean(means), rtol=1e-5)
    grads = jax.grad(several_right, argnums=(0, 1, 2))(*arguments, jnp.array(true))
    assert all(np.isfinite(leaf).all() for leaf in grads)
    assert several_right(*arguments, jnp.zeros((5, 4), bool)) == 0


def test_all_patches_give_what_the_towers_give(photos: Path, params: Params) -> None:
    sizes = clip_config(recipe(photos))
    images = jax.random.normal(jax.random.key(0), (3, 16, 16, 3))
    expected = image_tower(sizes).apply({"params": params["image"]}, images)
    found = encode_patches(jax.random.key(1), params["image"], sizes, images, 16)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    ids, end = jnp.arange(12).reshape(2, 6), jnp.array([5, 3])
    expected = text_tower(sizes).apply({"params": params["text"]}, ids, end)
    np.testing.assert_allclose(encode_texts(params["text"], sizes, ids, end), expected, atol=1e-5)


def test_patches_that_are_left_out_are_not_seen(photos: Path, params: Params) -> None:
    sizes = clip_config(recipe(photos))
    image = jax.random.normal(jax.random.key(0), (1, 16, 16, 3))

    def seen(image: jax.Array) -> jax.Array:
        return encode_patches(jax.random.key(1), params["image"], sizes, image, 5)[0, 0]

    touched = np.abs(jax.grad(seen)(image)[0]).sum(axis=-1).reshape(4, 4, 4, 4).sum(axis=(1, 3)) > 0
    assert touched.sum() == 5


def test_crops_and_colours_keep_shape_and_range_and_follow_their_key() -> None:
    rng = np.random.default_rng(0)
    pixels = jnp.asarray(rng.integers(0, 256, (6, 16, 16, 3), np.uint8))
    first = augment(jax.random.key(0), pixels, 0.4, 0.5)
    assert first.shape == pixels.shape and first.dtype == jnp.float32
    assert first.min() >= 0 and first.max() <= 1
    np.testing.assert_array_equal(first, augment(jax.random.key(0), pixels, 0.4, 0.5))
    assert not np.allclose(first, augment(jax.random.key(1), pixels, 0.4, 0.5))


def test_a_crop_of_everything_is_the_photo_or_its_mirror_image() -> None:
    y, x = np.mgrid[:16, :16]
    plain = np.stack([8 * x, 6 * y, 4 * (x + y)], -1).astype(np.uint8)
    images = augment(jax.random.key(0), jnp.tile(jnp.asarray(plain), (12, 1, 1, 1)), 1.0, 0.0)
    errors = [
        np.abs(np.asarray(images) * 255 - either).mean(axis=(1, 2, 3))
        for either in (plain, plain[:, ::-1])
    ]
    # Sides of up to 4 : 3 are cut even so, which moves a pixel by at most two.
    assert (np.minimum(*errors) < 12).all() and (errors[0] < 12).any() and (errors[1] < 12).any()


def test_the_learning_rate_stays_until_the_epochs_that_cool_down() -> None:
    config = get_config()
    config.update(epochs=10, cooldown_epochs=2, warmup_steps=5, learning_rate=0.5)
    rate = make_schedule(config, 20)
    assert [float(rate(step)) for step in (0, 5, 159, 160, 180, 200)] == pytest.approx(
        [0, 0.5, 0.5, 0.5, 0.25, 0]
    )
    config.epochs = 20
    longer = make_schedule(config, 20)
    assert [float(longer(step)) for step in range(160)] == [float(rate(s)) for s in range(160)]


def test_muon_updates_the_matrices_of_the_layers_and_adam_the_rest(
    photos: Path, params: Params
) -> None:
    config = recipe(photos)
    config.update(weight_decay=0.0, warmup_steps=0)
    optimizer = make_optimizer(config, 3)

    @jax.jit
    def updates_of(key: jax.Array) -> Params:
        grads = jax.tree.map(lambda leaf: jax.random.normal(key, leaf.shape), params)
        updates: Params = optimizer.update(grads, optimizer.init(params), params)[0]
        return updates

    updates = updates_of(jax.random.key(0))
    fc1 = np.asarray(updates["image"]["encoder"]["layers"]["fc1"]["kernel"])
    values = np.linalg.svd(fc1, compute_uv=False)  # (N, 16): nearly orthogonal
    assert (values.min(axis=1) > 0.5 * values.max(axis=1)).all()
    proxies = np.abs(updates["proxies"])  # Adam's first step is the same size everywhere
    np.testing.assert_allclose(proxies, proxies.mean(), rtol=1e-3)


def test_a_caption_that_is_too_long_is_told_shorter(photos: Path) -> None:
    config, asked = recipe(photos), []
    found = Photos(np.zeros((8, 16, 16, 3), np.uint8), np.arange(8) % 2, ("n1", "n2"))
    names = read_names(config.data.names, found.classes)
    words = read_words(config.data.words, names, 1)

    def tokenize(caption: str) -> np.ndarray:
        asked.append(caption)
        if not caption.startswith("a photo of a ") or "kind" in caption:
            raise TextTooLongError(caption)
        return np.array([len(caption), 999])

    for step in range(8):
        batch = train.batch_at(config, step, found, names, words, tokenize)
        assert batch["input_ids"].shape == (5, 2) and batch["true"].shape == (2, 5)
        assert batch["true"].any(axis=0).all()
    assert any(caption.startswith("a blurry") for caption in asked)


@pytest.mark.parametrize(
    ("field", "value"),
    [("kept_patches", 17), ("kept_patches", 0), ("words", 5), ("epochs", 0), ("look_every", 3)],
)
def test_settings_that_cannot_be_are_told(
    photos: Path, tmp_path: Path, field: str, value: int
) -> None:
    config = recipe(photos)
    config[field] = value
    with pytest.raises(ConfigError, match=field):
        train.pretrain(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_stops_the_run() -> None:
    with pytest.raises(NumericsError, match="step 7"):
        train._finite(float("nan"), 7)
