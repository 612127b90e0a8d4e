"""The numbers that the released PyTorch code gave on a tiny random CLIP (tests/golden)."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import FrozenConfigDict

from dpl_jax import Clip, load_clip, prompted_logits, search_logits
from dpl_jax import config as base
from dpl_jax.clip.features import text_features
from dpl_jax.clip.preprocessing import Preprocessing
from dpl_jax.clip.texts import Texts, prepare_texts
from dpl_jax.prompts.learned import Discrete, Supernet
from dpl_jax.prompts.trees import TOWERS
from dpl_jax.training.inputs import Task
from dpl_jax.training.loss import loss_and_accuracy
from dpl_jax.training.optimizers import search_optimizer
from dpl_jax.training.steps import create_state, search_step

FOLDER = Path(__file__).parents[1] / "golden" / "supernet_a"
LAYERS = {"image": 4, "text": 3}
Golden = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def golden() -> Golden:
    with np.load(FOLDER / "golden.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def clip() -> Clip:
    return load_clip(FOLDER)


def prompts_of(golden: Golden, prefix: str) -> dict[str, jax.Array]:
    return {
        tower: jnp.stack([golden[f"{prefix}_{tower}_layer{i}"] for i in range(LAYERS[tower])])
        for tower in TOWERS
    }


def alphas_of(golden: Golden, prefix: str) -> dict[str, jax.Array]:
    return {tower: jnp.asarray(golden[f"{prefix}_{tower}"]) for tower in TOWERS}


def start(golden: Golden) -> dict[str, Any]:
    return {"prompts": prompts_of(golden, "init_prompt"), "alphas": alphas_of(golden, "init_alpha")}


def batch(golden: Golden, number: int) -> tuple[jax.Array, jax.Array]:
    images = golden["images_nchw"][number].transpose(0, 2, 3, 1)  # (B, H, W, 3)
    return jnp.asarray(images), jnp.asarray(golden["labels"][number], jnp.int32)


def texts_of(golden: Golden, clip: Clip) -> Texts:
    return prepare_texts(golden["input_ids"], clip.sizes.text)


def assert_gradient(ours: Any, expected: np.ndarray) -> None:
    error = np.linalg.norm(np.asarray(ours, np.float64) - expected)
    assert error <= 1e-3 * np.linalg.norm(expected.astype(np.float64))


def test_search_logits(golden: Golden, clip: Clip) -> None:
    logits = search_logits(clip, batch(golden, 0)[0], golden["input_ids"], **start(golden))
    np.testing.assert_allclose(logits, golden["logits"], rtol=0, atol=1e-4)


def test_search_loss_and_gradients(golden: Golden, clip: Clip) -> None:
    texts = texts_of(golden, clip)

    def loss(params: dict[str, Any]) -> jax.Array:
        return loss_and_accuracy(clip, *batch(golden, 0), texts, Supernet(**params).view())[0]

    value, gradients = jax.value_and_grad(loss)(start(golden))
    np.testing.assert_allclose(value, golden["loss"], rtol=0, atol=1e-4)
    for tower in TOWERS:
        assert_gradient(gradients["alphas"][tower], golden[f"grad_alpha_{tower}"])
        for layer in range(LAYERS[tower]):
            assert_gradient(
                gradients["prompts"][tower][layer], golden[f"grad_prompt_{tower}_layer{layer}"]
            )


def test_two_alternating_steps(golden: Golden, clip: Clip) -> None:
    settings = base.search()
    settings.max_context_length = int(golden["max_context_length"])
    settings.prompts.warmup_epochs = 0  # the learning rates were constant
    search = FrozenConfigDict(settings)
    texts = texts_of(golden, clip)
    task = Task(None, None, texts, text_features(clip, texts), Preprocessing(32, 32))
    step = jax.jit(search_step, static_argnames=("search", "steps_per_epoch"))

    state = create_state(start(golden), search_optimizer(search, 100), 0)
    losses = []
    for number in range(2):
        val, train = batch(golden, 2 * number), batch(golden, 2 * number + 1)
        state, metrics = step(state, clip, task, train, val, search=search, steps_per_epoch=100)
        losses.append([metrics["val"]["loss"], metrics["train"]["loss"]])

    assert int(state.step) == 2
    np.testing.assert_allclose(losses, golden["trajectory_val_train_loss"], rtol=0, atol=1e-4)
    expected = prompts_of(golden, "after2_prompt"), alphas_of(golden, "after2_alpha")
    for tower in TOWERS:
        ours = state.params["prompts"][tower], state.params["alphas"][tower]
        np.testing.assert_allclose(ours[0], expected[0][tower], rtol=0, atol=1e-4)
        np.testing.assert_allclose(ours[1], expected[1][tower], rtol=0, atol=1e-4)


def stage2(golden: Golden) -> tuple[dict[str, jax.Array], dict[str, np.ndarray]]:
    """Prompts (N, K, D) and lengths (N,); rows beyond a length hold what must not matter."""
    lengths = {tower: golden[f"stage2_lengths_{tower}"] for tower in TOWERS}
    prompts = {}
    for tower in TOWERS:
        rows = [golden[f"stage2_prompt_{tower}_layer{i}"] for i in range(LAYERS[tower])]
        longest, width = int(lengths[tower].max()), rows[0].shape[1]
        padded = [np.concatenate([r, np.full((longest - len(r), width), 7.0)]) for r in rows]
        prompts[tower] = jnp.asarray(np.stack(padded), jnp.float32)
    return prompts, lengths


def test_stage2_logits(golden: Golden, clip: Clip) -> None:
    logits = prompted_logits(clip, batch(golden, 0)[0], golden["input_ids"], *stage2(golden))
    np.testing.assert_allclose(logits, golden["stage2_logits"], rtol=0, atol=1e-4)


def test_stage2_gradients(golden: Golden, clip: Clip) -> None:
    prompts, lengths = stage2(golden)
    texts = texts_of(golden, clip)

    def loss(prompts: dict[str, jax.Array]) -> jax.Array:
        seen = Discrete(prompts, lengths).view()
        return loss_and_accuracy(clip, *batch(golden, 0), texts, seen)[0]

    gradients = jax.grad(loss)(prompts)
    for tower in TOWERS:
        for layer, length in enumerate(lengths[tower]):
            ours = gradients[tower][layer]
            assert_gradient(ours[:length], golden[f"stage2_grad_prompt_{tower}_layer{layer}"])
            assert not np.asarray(ours[length:]).any()


def test_every_stored_quantity_is_used(golden: Golden) -> None:
    """A key that is added to the file must get a test here."""
    used = {"input_ids", "images_nchw", "labels", "max_context_length", "logits", "loss", "optim"}
    used |= {"trajectory_val_train_loss", "stage2_logits"}
    for tower in TOWERS:
        used |= {f"{prefix}_alpha_{tower}" for prefix in ("init", "grad", "after2")}
        used.add(f"stage2_lengths_{tower}")
        for layer in range(LAYERS[tower]):
            prefixes = "init", "grad", "after2", "stage2", "stage2_grad"
            used |= {f"{prefix}_prompt_{tower}_layer{layer}" for prefix in prefixes}
    assert set(golden) == used
