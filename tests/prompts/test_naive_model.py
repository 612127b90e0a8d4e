"""A whole CLIP written the slow way in float64 against ours, with other sizes than the golden data.

Five classes, T = 3, several heads of unequal number, exact gelu in the text tower.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import FrozenConfigDict

from dpl_jax import Clip, load_clip, prompted_logits, search_logits, zero_shot_logits
from dpl_jax import config as base
from dpl_jax.clip.features import text_features
from dpl_jax.clip.preprocessing import Preprocessing
from dpl_jax.clip.texts import prepare_texts
from dpl_jax.training.inputs import Task
from dpl_jax.training.optimizers import search_optimizer
from dpl_jax.training.steps import create_state, search_step
from tests.support import naive
from tests.support.small_clip import random_tensors, small_config, write_clip

CONFIG = small_config(
    text={"hidden_act": "gelu", "num_attention_heads": 4, "eos_token_id": 9, "vocab_size": 10},
    vision={"hidden_act": "gelu", "num_hidden_layers": 2},
)
LAYERS, WIDTHS = {"image": 2, "text": 2}, {"image": 24, "text": 16}
T, ROWS, CLASSES, BATCH = 3, 6, 5, 3
LENGTHS = {"image": np.array([2, 0]), "text": np.array([1, 3])}


class Case(NamedTuple):
    clip: Clip
    tensors: dict[str, np.ndarray]  # float64
    images: np.ndarray  # (4, B, H, W, 3)
    labels: np.ndarray  # (4, B)
    input_ids: np.ndarray  # (C, S)
    prompts: dict[str, np.ndarray]
    alphas: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    tensors = random_tensors(CONFIG, seed=3)
    clip = load_clip(write_clip(tmp_path_factory.mktemp("clip"), CONFIG, tensors))
    random = np.random.default_rng(4)
    input_ids = random.integers(0, 9, (CLASSES, 11))
    input_ids[:, :2] = [8, 3]  # a common prefix
    for row, end in enumerate([4, 9, 6, 10, 3]):
        input_ids[row, end:] = 9
    return Case(
        clip=clip,
        tensors={name: tensor.astype(np.float64) for name, tensor in tensors.items()},
        images=random.standard_normal((4, BATCH, 16, 16, 3)).astype(np.float32),
        labels=random.integers(0, CLASSES, (4, BATCH)),
        input_ids=input_ids,
        prompts={
            tower: random.standard_normal((LAYERS[tower], ROWS, WIDTHS[tower])).astype(np.float32)
            for tower in LAYERS
        },
        alphas={
            tower: random.standard_normal((LAYERS[tower], T + 1)).astype(np.float32)
            for tower in LAYERS
        },
    )


def slow_logits(case: Case, images: Any, layers: dict[str, Any]) -> jax.Array:
    """Logits of images (B, 3, H, W)."""
    tensors = jax.tree.map(jnp.asarray, case.tensors)
    return naive.naive_logits(
        tensors, CONFIG, images, case.input_ids, layers.get("image"), layers.get("text")
    )


def channels_first(images: np.ndarray) -> jax.Array:
    return jnp.asarray(images.transpose(0, 3, 1, 2), jnp.float64)


class SlowSearch:
    """The slow supernet's loss, logits and gradients, compiled once."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.gradient = jax.jit(jax.value_and_grad(self._loss, argnums=2, has_aux=True))

    def __call__(self, number: int, params: dict[str, Any]) -> tuple[Any, Any]:
        """((loss, logits), gradients) of a batch; call it inside jax.enable_x64."""
        images = channels_first(self.case.images[number])
        return self.gradient(images, self.case.labels[number], wide(params))

    def _loss(self, images: Any, labels: Any, params: dict[str, Any]) -> tuple[Any, Any]:
        layers = {
            tower: naive.supernet_layers(params["prompts"][tower], params["alphas"][tower])
            for tower in LAYERS
        }
        logits = slow_logits(self.case, images, layers)
        chosen = jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
        return (jnp.log(jnp.exp(logits).sum(axis=1)) - chosen).mean(), logits


@pytest.fixture(scope="module")
def slow_search(case: Case) -> SlowSearch:
    return SlowSearch(case)


def wide(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), tree)


def test_zero_shot(case: Case) -> None:
    with jax.enable_x64(True):
        expected = np.asarray(slow_logits(case, channels_first(case.images[0]), {}))
    ours = zero_shot_logits(case.clip, case.images[0], case.input_ids)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4)


def test_stage_two(case: Case) -> None:
    prompts = {tower: jnp.asarray(rows[:, :T]) for tower, rows in case.prompts.items()}
    with jax.enable_x64(True):
        chosen = {
            tower: naive.chosen_layers(wide(prompts[tower]), LENGTHS[tower].tolist())
            for tower in LAYERS
        }
        expected = np.asarray(slow_logits(case, channels_first(case.images[0]), chosen))
    ours = prompted_logits(case.clip, case.images[0], case.input_ids, prompts, LENGTHS)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4)


def test_supernet_in_float64(case: Case, slow_search: SlowSearch) -> None:
    """With parameters in float64 both agree to rounding: the mixture is exact, no approximation."""
    params = {"prompts": case.prompts, "alphas": case.alphas}
    with jax.enable_x64(True):
        clip = case.clip.replace(params=wide(case.clip.params))
        images = jnp.asarray(case.images[0], jnp.float64)
        ours = search_logits(clip, images, case.input_ids, **wide(params))
        (_, expected), _ = slow_search(0, params)
        assert ours.dtype == jnp.float64
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-10)


def test_two_alternating_steps(case: Case, slow_search: SlowSearch) -> None:
    """Our float32 steps against float64 gradients and optimisers written out in NumPy."""
    settings = base.search()
    settings.max_context_length = T
    settings.prompts.warmup_epochs = 0  # constant rates within the first epoch
    search = FrozenConfigDict(settings)
    texts = prepare_texts(case.input_ids, case.clip.sizes.text)
    task = Task(None, None, texts, text_features(case.clip, texts), Preprocessing(16, 16))
    params = jax.tree.map(jnp.asarray, {"prompts": case.prompts, "alphas": case.alphas})
    state = create_state(params, search_optimizer(search, 100), 0)
    step = jax.jit(search_step, static_argnames=("search", "steps_per_epoch"))
    losses = []
    for number in (0, 2):
        val, train = (
            (jnp.asarray(case.images[i]), jnp.asarray(case.labels[i])) for i in (number, number + 1)
        )
        state, metrics = step(
            state, case.clip, task, train, val, search=search, steps_per_epoch=100
        )
        losses.append([float(metrics["val"]["loss"]), float(metrics["train"]["loss"])])

    expected, expected_losses = slow_steps(case, slow_search)
    np.testing.assert_allclose(losses, expected_losses, rtol=0, atol=1e-4)
    for group in ("alphas", "prompts"):
        for tower in LAYERS:
            np.testing.assert_allclose(
                state.params[group][tower], expected[group][tower], rtol=0, atol=1e-4
            )


def slow_steps(case: Case, gradient: SlowSearch) -> tuple[dict[str, Any], list[list[float]]]:
    """Two alternating steps: Adam (b1 0.5, b2 0.999) on alpha, SGD with momentum on the prompts."""
    rate, decay = 3.5e-3, 5e-4
    losses = []
    with jax.enable_x64(True):
        params = jax.tree.map(np.float64, {"prompts": case.prompts, "alphas": case.alphas})
        mean, square, momentum = ({tower: np.zeros(()) for tower in LAYERS} for _ in range(3))
        for step in (1, 2):
            (val_loss, _), gradients = gradient(2 * step - 2, params)
            for tower, g in gradients["alphas"].items():
                mean[tower] = 0.5 * mean[tower] + 0.5 * np.asarray(g)
                square[tower] = 0.999 * square[tower] + 0.001 * np.asarray(g) ** 2
                update = mean[tower] / (1 - 0.5**step)
                update /= np.sqrt(square[tower] / (1 - 0.999**step)) + 1e-8
                params["alphas"][tower] = params["alphas"][tower] - rate * update
            (train_loss, _), gradients = gradient(2 * step - 1, params)
            for tower, g in gradients["prompts"].items():
                momentum[tower] = (
                    0.9 * momentum[tower] + np.asarray(g) + decay * params["prompts"][tower]
                )
                params["prompts"][tower] = params["prompts"][tower] - rate * momentum[tower]
            losses.append([float(val_loss), float(train_loss)])
    return params, losses
