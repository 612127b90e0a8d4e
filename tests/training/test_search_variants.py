"""Temperature, penalties, second order and selection of the search, each against a slow version."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict, FrozenConfigDict

from dpl_jax import Clip, prompted_logits, search_logits
from dpl_jax import config as base
from dpl_jax.clip.features import text_features
from dpl_jax.clip.preprocessing import Preprocessing
from dpl_jax.clip.texts import prepare_texts
from dpl_jax.errors import ConfigError
from dpl_jax.members.states import cut_supernet
from dpl_jax.prompts.alphas import anneal, expected_tokens, finished_alphas, mean_entropy, penalty
from dpl_jax.prompts.trees import TOWERS, choose_lengths, inherit_rows, init_supernet, limit_alphas
from dpl_jax.training.inputs import Task
from dpl_jax.training.optimizers import search_optimizer
from dpl_jax.training.selection import perturbed_lengths
from dpl_jax.training.steps import create_state, search_step

T = 2
RATE = 0.5  # of the prompts; large, so that the second-order term matters
TEXTS = ["a cat", "a large dog", "an owl"]
STEP = jax.jit(search_step, static_argnames=("search", "steps_per_epoch"))


def settings(**changes: Any) -> ConfigDict:
    search = base.search()
    search.max_context_length, search.epochs = T, 5
    search.alphas.update({"name": "sgd", "learning_rate": 1.0, "momentum": 0.0})
    search.prompts.update({"learning_rate": RATE, "warmup_epochs": 0})
    search.update(changes)
    return search


@pytest.fixture(scope="module")
def params(clip: Clip) -> dict[str, Any]:
    prompts, alphas = init_supernet(clip.sizes, T, 0, {"image": 1.0, "text": 1.0})
    return {"prompts": prompts, "alphas": jax.tree.map(lambda leaf: 500 * leaf, alphas)}


@pytest.fixture(scope="module")
def task(clip: Clip) -> Task:
    texts = prepare_texts(clip.tokenize(TEXTS), clip.sizes.text)
    return Task(None, None, texts, text_features(clip, texts), Preprocessing(16, 16))


def batch(seed: int) -> tuple[jax.Array, jax.Array]:
    random = np.random.default_rng(seed)
    images = random.standard_normal((4, 16, 16, 3)).astype(np.float32)
    return jnp.asarray(images), jnp.asarray(random.integers(0, 3, 4))


@jax.jit
def loss(clip: Clip, params: Any, images: jax.Array, labels: jax.Array) -> jax.Array:
    ids = np.asarray(clip.tokenize(TEXTS))
    logits = search_logits(clip, images, ids, params["prompts"], params["alphas"])
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def alpha_step(clip: Clip, task: Task, params: Any, search: ConfigDict) -> dict[str, np.ndarray]:
    """What one step takes off alpha: its gradient, as the rate of its SGD is 1."""
    state = create_state(params, search_optimizer(FrozenConfigDict(search), 10), 0)
    frozen = FrozenConfigDict(search)
    state, _ = STEP(state, clip, task, batch(1), batch(2), search=frozen, steps_per_epoch=10)
    return {
        tower: np.asarray(params["alphas"][tower] - state.params["alphas"][tower])
        for tower in TOWERS
    }


def wide(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), tree)


def test_second_order_equals_finite_differences(
    clip: Clip, task: Task, params: dict[str, Any]
) -> None:
    """Central differences in float64 of L_val(w - rate dL_train/dw, alpha), as a whole."""
    ours = alpha_step(clip, task, params, settings(second_order=True))
    first = alpha_step(clip, task, params, settings())
    with jax.enable_x64(True):
        exact = clip.replace(params=wide(clip.params))
        train, val = ((jnp.asarray(x, jnp.float64), y) for x, y in (batch(1), batch(2)))

        @jax.jit
        def ahead(alphas: Any) -> jax.Array:
            own = wide(params) | {"alphas": alphas}
            gradients = jax.grad(lambda prompts: loss(exact, own | {"prompts": prompts}, *train))(
                own["prompts"]
            )
            moved = jax.tree.map(lambda w, g: w - RATE * g, own["prompts"], gradients)
            return loss(exact, own | {"prompts": moved}, *val)

        for tower, index in (("image", (0, 1)), ("image", (2, 2)), ("text", (1, 0))):
            alphas = wide(params["alphas"])
            low, high = (
                ahead(alphas | {tower: alphas[tower].at[index].add(change)})
                for change in (-1e-5, 1e-5)
            )
            expected = float(high - low) / 2e-5
            assert ours[tower][index] == pytest.approx(expected, rel=1e-2, abs=1e-5)
    difference = max(np.abs(ours[tower] - first[tower]).max() for tower in TOWERS)
    assert difference > 1e-3  # or the test could not tell them apart


def test_the_temperature_falls_from_one_to_its_end(params: dict[str, Any]) -> None:
    search, alphas = settings(final_temperature=0.04), params["alphas"]
    ratios = [float(anneal(alphas, search, epoch)["text"][0, 0]) for epoch in range(5)]
    ratios = [ratio / float(alphas["text"][0, 0]) for ratio in ratios]
    np.testing.assert_allclose(ratios, [1, 5**0.5, 5, 5**1.5, 25], rtol=1e-5)
    np.testing.assert_allclose(finished_alphas(alphas, search)["image"], alphas["image"] / 0.04)
    assert anneal(alphas, settings(), 3)["text"] is alphas["text"]


def test_a_temperature_scales_alpha_gradients(
    clip: Clip, task: Task, params: dict[str, Any]
) -> None:
    """In the last epoch, a search at temperature t sees alpha / t: the chain rule's 1 / t."""
    half = settings(final_temperature=0.5, epochs=2)
    state = create_state(params, search_optimizer(FrozenConfigDict(half), 10), 0)
    state = state.replace(step=jnp.asarray(10))  # the second and last epoch
    frozen = FrozenConfigDict(half)
    after, _ = STEP(state, clip, task, batch(1), batch(2), search=frozen, steps_per_epoch=10)
    sharper = params | {"alphas": jax.tree.map(lambda leaf: 2 * leaf, params["alphas"])}
    gradient = jax.jit(jax.grad(lambda a: loss(clip, sharper | {"alphas": a}, *batch(2))))
    expected = gradient(sharper["alphas"])
    for tower in TOWERS:
        moved = params["alphas"][tower] - after.params["alphas"][tower]
        np.testing.assert_allclose(moved, 2 * expected[tower], rtol=1e-3, atol=1e-5)


def test_penalties_by_hand() -> None:
    weights = [[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]]
    alphas = {"image": jnp.log(jnp.array(weights)), "text": jnp.zeros((1, 3))}
    assert float(expected_tokens(alphas)) == pytest.approx(0.75 + 2 + 1)
    entropy = (1.5 * math.log(2) + 0 + math.log(3)) / 3
    assert float(mean_entropy(alphas)) == pytest.approx(entropy)
    search = settings(budget=0.1, entropy=2.0)
    assert float(penalty(alphas, search, 0)) == pytest.approx(0.375)
    assert float(penalty(alphas, search, 2)) == pytest.approx(0.375 + entropy)
    assert float(penalty(alphas, settings(), 2)) == 0


def slow_entropy(alphas: dict[str, np.ndarray]) -> tuple[float, dict[str, np.ndarray]]:
    """Mean entropy and its gradient in float64: -w_m (log w_m + H) of each layer with w_m > 0."""
    layers = sum(len(alpha) for alpha in alphas.values())
    total, gradients = 0.0, {}
    for tower, alpha in alphas.items():
        gradients[tower] = np.zeros(alpha.shape)
        for layer, row in enumerate(alpha.astype(np.float64)):
            exponentials = [math.exp(value - row.max()) for value in row]
            weights = [value / sum(exponentials) for value in exponentials]
            entropy = -sum(w * math.log(w) for w in weights if w > 0)
            total += entropy / layers
            for m, w in enumerate(weights):
                if w > 0:
                    gradients[tower][layer, m] = -w * (math.log(w) + entropy) / layers
    return total, gradients


@pytest.mark.parametrize("temperature", [1.0, 0.1, 1e-3])
@pytest.mark.parametrize("masked", [(), (2,), (0, 1, 3)])
def test_the_entropy_is_finite_where_weights_are_zero(
    temperature: float, masked: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    alphas = {tower: rng.standard_normal((3, 5)).astype(np.float32) for tower in TOWERS}
    for alpha in alphas.values():
        alpha[:, list(masked)] = -np.inf
    search = settings(final_temperature=temperature, entropy=1.0, epochs=2)

    def value(given: Any) -> jax.Array:
        return penalty(anneal(given, search, 1), search, 1)

    ours, gradients = jax.jit(jax.value_and_grad(value))(jax.tree.map(jnp.asarray, alphas))
    expected, slow = slow_entropy({tower: alpha / temperature for tower, alpha in alphas.items()})
    assert float(ours) == pytest.approx(expected, rel=1e-5, abs=1e-4)
    for tower in TOWERS:
        assert np.isfinite(gradients[tower]).all()
        np.testing.assert_allclose(
            gradients[tower], slow[tower] / temperature, rtol=1e-3, atol=1e-4
        )


def test_a_limited_search_with_all_penalties_stays_finite(
    clip: Clip, task: Task, params: dict[str, Any]
) -> None:
    """What a member of an ablation does: the longest candidate is off, and stays where it was."""
    search = FrozenConfigDict(settings(entropy=1.0, budget=0.1, final_temperature=1e-3, epochs=2))
    state = create_state(params, search_optimizer(search, 10), 0)
    state = state.replace(step=jnp.asarray(10), max_context_length=jnp.asarray(1))
    state, metrics = STEP(state, clip, task, batch(1), batch(2), search=search, steps_per_epoch=10)
    assert all(bool(half["finite"]) for half in metrics.values())
    for tower in TOWERS:
        moved = np.asarray(state.params["alphas"][tower] - params["alphas"][tower])
        assert np.isfinite(moved).all()
        assert (moved[:, T] == 0).all()


@pytest.mark.parametrize("temperature", [0.0, -1.0, 1e-7])
def test_a_temperature_that_cannot_be_is_refused(temperature: float) -> None:
    config = base.get_config()
    config.search.final_temperature = temperature
    with pytest.raises(ConfigError, match=r"search\.final_temperature is .*at least 1e-06"):
        base.check_config(config)


def test_the_budget_joins_the_gradient_of_alpha(
    clip: Clip, task: Task, params: dict[str, Any]
) -> None:
    plain = alpha_step(clip, task, params, settings())
    ours = alpha_step(clip, task, params, settings(budget=0.3))
    for tower in TOWERS:
        weights = np.asarray(jax.nn.softmax(params["alphas"][tower]))
        lengths = np.arange(T + 1)
        mean = (weights * lengths).sum(axis=1, keepdims=True)
        expected = 0.3 * weights * (lengths - mean)  # of sum_m softmax(alpha)_m m
        np.testing.assert_allclose(ours[tower] - plain[tower], expected, atol=1e-5)


def test_perturbation_against_one_removal_at_a_time(clip: Clip, task: Task, params: Any) -> None:
    """Every removal evaluated by itself, with softmax weights in place of masks."""
    batches = [batch(3), (batch(4)[0][:2], batch(4)[1][:2])]
    prompts, alphas = params["prompts"], params["alphas"]
    ours = perturbed_lengths(clip, task, batches, prompts, alphas)
    masks = {tower: np.ones(alphas[tower].shape, bool) for tower in TOWERS}
    for layer, tower in [(2, "image"), (1, "text"), (1, "image"), (0, "text"), (0, "image")]:
        losses = []
        for length in range(T + 1):
            kept = {name: mask.copy() for name, mask in masks.items()}
            kept[tower][layer, length] = False
            masked = {name: jnp.where(kept[name], alphas[name], -1e9) for name in TOWERS}
            own = {"prompts": prompts, "alphas": masked}
            losses.append(sum(len(b[1]) * float(loss(clip, own, *b)) for b in batches))
        assert ours[tower][layer] == int(np.argmax(losses))
        masks[tower][layer] = np.arange(T + 1) == np.argmax(losses)
    by_alpha = choose_lengths(alphas)[0]
    assert any((ours[tower] != by_alpha[tower]).any() for tower in TOWERS)


def test_perturbation_never_chooses_what_is_switched_off(
    clip: Clip, task: Task, params: dict[str, Any]
) -> None:
    """Alphas cut to a smaller T and masked to it come to the same lengths."""
    prompts, alphas = params["prompts"], params["alphas"]
    for seed in range(3, 6):
        masked = perturbed_lengths(clip, task, [batch(seed)], prompts, limit_alphas(alphas, 1))
        cut = cut_supernet(params, 1)
        expected = perturbed_lengths(clip, task, [batch(seed)], cut["prompts"], cut["alphas"])
        for tower in TOWERS:
            np.testing.assert_array_equal(masked[tower], expected[tower])


def test_inherited_rows_make_the_discretised_supernet(clip: Clip, params: dict[str, Any]) -> None:
    lengths = {"image": np.array([2, 0, 1]), "text": np.array([1, 2])}
    sure = {
        tower: jnp.where(jnp.arange(T + 1) == lengths[tower][:, None], 0.0, -jnp.inf)
        for tower in TOWERS
    }
    images, ids = batch(5)[0], clip.tokenize(TEXTS)
    rows = inherit_rows(params["prompts"], lengths)
    assert {tower: leaf.shape[1] for tower, leaf in rows.items()} == {"image": 2, "text": 2}
    ours = prompted_logits(clip, images, ids, rows, lengths)
    expected = search_logits(clip, images, ids, params["prompts"], sure)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5)
