import importlib.util
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from dpl_jax.clip.features import image_features
from dpl_jax.clip.model import load_clip
from dpl_jax.clip.names import embedded_folder
from dpl_jax.clip.towers import image_tower
from dpl_jax.clip.weights import Params
from dpl_jax.errors import ConfigError, NumericsError
from dpl_jax.files.json import read_json, to_json
from recipes.contrastive import contrastive_loss
from recipes.tiny import export, train
from recipes.tiny.assess import assess
from tests.support.repository import ROOT

MAX_BYTES = 12e6


def small_recipe() -> ml_collections.ConfigDict:
    spec = importlib.util.spec_from_file_location("recipe", ROOT / "recipes/tiny/config.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config()
    config.update(
        steps=2,
        batch_size=8,
        image_width=16,
        text_width=8,
        head_width=8,
        image_layers=1,
        text_layers=1,
    )
    config.update(projection_dim=8, vocab_size=600, caption_length=60)
    config.update(handwritten_masks=2, texture_masks=1)
    return config


def drawn_batch(count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    attributes = np.tile(np.arange(count)[:, None], (1, 6))
    ids = rng.integers(0, 500, (count, 6)).astype(np.int32)
    ids[:, -1] = 599
    return {
        "attributes": attributes,
        "mentions": np.ones((count, 6), bool),
        "input_ids": ids,
        "end": np.full(count, 5),
    }


def test_the_loss_equals_the_sum_over_pairs_written_out() -> None:
    rng = np.random.default_rng(0)
    image, text = rng.normal(size=(2, 4, 3)).astype(np.float32)
    true = np.eye(4, dtype=bool)
    true[0, 2] = true[3, 1] = True
    expected = 0.0
    for a, b, t in ((image, text, true), (text, image, true.T)):
        for i in range(4):
            cosines = [a[i] @ c / np.linalg.norm(a[i]) / np.linalg.norm(c) for c in b]
            logits = 5 * np.array(cosines)
            log_p = logits - np.log(np.exp(logits).sum())
            expected -= log_p[t[i]].mean() / 8
    loss = contrastive_loss(jnp.array(image), jnp.array(text), jnp.log(5.0), jnp.array(true))
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_steps_on_one_batch_lower_its_loss() -> None:
    config = small_recipe()
    config.update(warmup_steps=0, steps=100)
    sizes = train.clip_config(config)
    state, optimizer = train.create_state(config, sizes), train.make_optimizer(config)
    batch = drawn_batch(6)
    images = jax.random.uniform(jax.random.key(0), (6, 32, 32, 3))

    @jax.jit
    def step(params: Params, opt_state: Any) -> tuple[Params, Any, jax.Array]:
        loss, grads = jax.value_and_grad(train.batch_loss)(params, sizes, images, batch, 1.0)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return jax.tree.map(jnp.add, params, updates), opt_state, loss

    params, opt_state, losses = state.params, state.opt_state, []
    for _ in range(3):
        params, opt_state, loss = step(params, opt_state)
        losses.append(float(loss))
    assert losses[2] < losses[1] < losses[0]


def test_weight_decay_spares_gains_biases_and_the_logit_scale() -> None:
    config = small_recipe()
    params = train.create_state(config, train.clip_config(config)).params
    decayed = train._decayed(params)
    assert decayed["image"]["encoder"]["layers"]["fc1"] == {"kernel": True, "bias": False}
    assert decayed["text"]["token_embedding"]["embedding"]
    assert not decayed["image"]["encoder"]["layers"]["layer_norm1"]["scale"]
    assert not decayed["logit_scale"]


def test_a_quick_run_writes_a_clip_that_loads_with_its_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {}

    def keep(*args: Any) -> tuple:
        kept["result"] = train.pretrain(*args)
        return kept["result"]

    monkeypatch.setattr(export, "pretrain", keep)
    monkeypatch.setattr(export, "assess", lambda folder: {"zero_shot": 10.0})
    record = export.pretrain_to(tmp_path / "clip", small_recipe())
    assert read_json(tmp_path / "clip" / "training.json") == to_json(record)
    assert record["steps"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["clip"]
    clip = load_clip(tmp_path / "clip")
    params, sizes, _ = kept["result"]
    assert clip.sizes == sizes
    images = jax.random.normal(jax.random.key(1), (2, 32, 32, 3))
    trained = image_tower(sizes).apply({"params": params["image"]}, images)
    np.testing.assert_allclose(image_features(clip, images), trained, rtol=1e-5, atol=1e-6)


def test_a_failed_run_leaves_nothing_and_a_used_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise NumericsError("not finite")

    monkeypatch.setattr(export, "pretrain", fail)
    with pytest.raises(NumericsError):
        export.pretrain_to(tmp_path / "clip", small_recipe())
    assert not list(tmp_path.iterdir())
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        export.pretrain_to(tmp_path, small_recipe())


def test_a_loss_that_is_not_finite_stops_the_run() -> None:
    with pytest.raises(NumericsError, match="step 7"):
        train._finite(float("nan"), 7)


def test_the_shipped_clip_is_small_and_as_good_as_its_record_says() -> None:
    files = [path for path in embedded_folder("tiny").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MAX_BYTES
    record = read_json(embedded_folder("tiny") / "training.json")
    found = assess(embedded_folder("tiny"), seeds=(1,))
    assert found["zero_shot"] == pytest.approx(record["digits_accuracy"]["zero_shot"], abs=1.0)
    assert found["zero_shot"] > 35
    assert found["linear_probe"] > 85
