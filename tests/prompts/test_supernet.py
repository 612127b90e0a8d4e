"""What the supernet, the chosen lengths and plain CLIP have to do with each other."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpl_jax import Clip, prompted_logits, search_logits, zero_shot_logits
from dpl_jax.prompts.trees import (
    TOWERS,
    candidate_rows,
    choose_lengths,
    init_discrete,
    init_supernet,
    limit_alphas,
)

T = 3
LENGTHS = {"image": np.array([3, 0, 1]), "text": np.array([2, 3])}
SCALE = {"image": 1.0, "text": 1.0}
supernet = jax.jit(search_logits)
chosen = jax.jit(prompted_logits)


@pytest.fixture(scope="module")
def inputs(clip: Clip) -> tuple[Any, Any]:
    images = np.random.default_rng(0).standard_normal((2, 16, 16, 3)).astype(np.float32)
    return images, clip.tokenize(["a cat", "a large dog", "an owl"])


@pytest.fixture(scope="module")
def params(clip: Clip) -> tuple[dict[str, Any], dict[str, Any]]:
    """Prompts of an unlike scale, and alphas far from equal."""
    prompts, alphas = init_supernet(clip.sizes, T, seed=0, scale=SCALE)
    return prompts, jax.tree.map(lambda alpha: 1e3 * alpha, alphas)


def one_hot(lengths: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    return {
        tower: jnp.where(jnp.arange(T + 1) == lengths[tower][:, None], 0.3, -jnp.inf)
        for tower in TOWERS
    }


def rows_of(prompts: dict[str, Any], lengths: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    """(N, T, D): each layer's rows of its chosen candidate, then rows that must not matter."""
    chosen_rows = {}
    for tower in TOWERS:
        layers = np.full((len(lengths[tower]), T, prompts[tower].shape[-1]), 50.0, np.float32)
        for layer, length in enumerate(lengths[tower]):
            start = candidate_rows(int(length) - 1) if length else 0
            layers[layer, :length] = prompts[tower][layer, start : start + length]
        chosen_rows[tower] = jnp.asarray(layers)
    return chosen_rows


def test_one_hot_alpha_equals_the_discretised_network(clip: Clip, inputs: Any, params: Any) -> None:
    ours = supernet(clip, *inputs, params[0], one_hot(LENGTHS))
    expected = chosen(clip, *inputs, rows_of(params[0], LENGTHS), LENGTHS)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5)
    assert np.abs(ours - zero_shot_logits(clip, *inputs)).max() > 1e-2


def test_length_zero_everywhere_equals_plain_clip(clip: Clip, inputs: Any, params: Any) -> None:
    """Bit for bit where there are no rows; to rounding (logits reach to 12) where all are off."""
    plain = zero_shot_logits(clip, *inputs)
    zero = {tower: np.zeros_like(LENGTHS[tower]) for tower in TOWERS}
    no_rows = {tower: rows[:, :0] for tower, rows in params[0].items()}
    np.testing.assert_array_equal(prompted_logits(clip, *inputs, no_rows, zero), plain)
    masked = chosen(clip, *inputs, rows_of(params[0], zero), zero)
    np.testing.assert_allclose(masked, plain, rtol=0, atol=1e-5)
    switched_off = supernet(clip, *inputs, params[0], one_hot(zero))
    np.testing.assert_allclose(switched_off, plain, rtol=0, atol=1e-5)


def test_limited_alphas_equal_a_smaller_supernet(clip: Clip, inputs: Any, params: Any) -> None:
    prompts, alphas = params
    limited = supernet(clip, *inputs, prompts, limit_alphas(alphas, 1))
    small = search_logits(
        clip,
        *inputs,
        {tower: rows[:, :1] for tower, rows in prompts.items()},
        {tower: alpha[:, :2] for tower, alpha in alphas.items()},
    )
    np.testing.assert_allclose(limited, small, rtol=0, atol=1e-5)


def test_vmapped_members_equal_a_loop(clip: Clip, inputs: Any, params: Any) -> None:
    factors = jnp.array([1.0, -0.5, 0.1])
    members = jax.tree.map(lambda leaf: jnp.stack([f * leaf for f in factors]), params)
    together = jax.jit(jax.vmap(lambda each: search_logits(clip, *inputs, *each)))(members)
    for number in range(len(factors)):
        alone = supernet(clip, *inputs, *jax.tree.map(lambda leaf, i=number: leaf[i], members))
        np.testing.assert_allclose(together[number], alone, rtol=0, atol=1e-5)


def test_a_smaller_supernet_starts_with_the_same_rows(clip: Clip) -> None:
    """So that a member limited to T = 2 is a run of its own with T = 2."""
    large = init_supernet(clip.sizes, 5, seed=4, scale=SCALE)
    small = init_supernet(clip.sizes, 2, seed=4, scale=SCALE)
    for tower in TOWERS:
        np.testing.assert_array_equal(large[0][tower][:, :3], small[0][tower])
        np.testing.assert_array_equal(large[1][tower][:, :3], small[1][tower])


def test_initial_prompts_and_alphas(clip: Clip) -> None:
    """Images normal(0, 1), text uniform in [0, 1), alphas 1e-3 * normal; no rows alike."""
    scale = {"image": 2.0, "text": 0.5}
    prompts, alphas = init_supernet(clip.sizes, 6, seed=1, scale=scale)
    assert prompts["image"].shape == (3, 21, 24) and prompts["text"].shape == (2, 21, 16)
    assert alphas["image"].shape == (3, 7) and alphas["text"].shape == (2, 7)
    image, text = np.asarray(prompts["image"]), np.asarray(prompts["text"])
    assert abs(image.mean()) < 0.2 and 1.8 < image.std() < 2.2
    assert text.min() >= 0 and text.max() < 0.5 and 0.22 < text.mean() < 0.28
    assert 2e-4 < np.concatenate([a.ravel() for a in alphas.values()]).std() < 3e-3
    other = np.asarray(init_supernet(clip.sizes, 6, seed=2, scale=scale)[0]["image"])
    rows, others = ({row.tobytes() for row in a.reshape(-1, 24)} for a in (image, other))
    assert len(rows) == len(others) == 63 and not rows & others


def test_initial_rows_of_stage_two(clip: Clip) -> None:
    """normal(0, 0.02), as many as the longest length; the rows in use do not depend on it."""
    prompts = init_discrete(clip.sizes, LENGTHS, seed=1, scale=0.02)
    assert prompts["image"].shape == (3, 3, 24) and prompts["text"].shape == (2, 3, 16)
    assert 0.015 < np.asarray(prompts["image"]).std() < 0.025
    shorter = LENGTHS | {"image": np.array([1, 0, 1])}
    rows = init_discrete(clip.sizes, shorter, seed=1, scale=0.02)["image"]
    np.testing.assert_array_equal(rows, prompts["image"][:, :1])


def test_chosen_lengths() -> None:
    """The argmax of each row, ties to the shorter, with its softmax weight as confidence."""
    alphas = {
        "image": np.log(np.array([[0.1, 0.6, 0.3], [0.4, 0.2, 0.4]])),
        "text": np.array([[0.0, 0.0, 0.0], [-np.inf, 1.0, -np.inf]]),
    }
    lengths, confidences, weights = choose_lengths(alphas)
    assert lengths["image"].tolist() == [1, 0] and lengths["text"].tolist() == [0, 1]
    np.testing.assert_allclose(confidences["image"], [0.6, 0.4], rtol=1e-6)
    np.testing.assert_allclose(confidences["text"], [1 / 3, 1.0], rtol=1e-6)
    np.testing.assert_allclose(weights["image"], np.exp(alphas["image"]), rtol=1e-6)
