"""The documented Python API: inside jit, grad and vmap, and with inputs that do not fit."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dpl_jax
from dpl_jax import Clip
from dpl_jax.errors import ConfigError

T, ROWS = 2, 3
LENGTHS = {"image": np.array([2, 0, 1]), "text": np.array([1, 2])}


class Arguments:
    """Of the four calls of the README; a namespace that the tests take what they need from."""

    def __init__(self, clip: Clip) -> None:
        random = np.random.default_rng(0)

        def tree(*shape: int) -> dict[str, jax.Array]:
            towers = {"image": (3, *shape, 24), "text": (2, *shape, 16)}
            return {
                tower: jnp.asarray(random.standard_normal(size), jnp.float32)
                for tower, size in towers.items()
            }

        self.images = jnp.asarray(random.standard_normal((2, 16, 16, 3)), jnp.float32)
        self.input_ids = clip.tokenize(["a cat", "a large dog", "an owl"])
        self.prompts = tree(ROWS)
        self.alphas = {
            tower: jnp.asarray(random.standard_normal((layers, T + 1)), jnp.float32)
            for tower, layers in (("image", 3), ("text", 2))
        }
        self.rows = {tower: rows[:, :2] for tower, rows in self.prompts.items()}


@pytest.fixture(scope="module")
def given(clip: Clip) -> Arguments:
    return Arguments(clip)


@jax.jit
def search_gradients(clip: Clip, given: Any) -> tuple[jax.Array, Any]:
    """Logits, and the gradients of a sum of them, for images, ids, prompts and alphas."""
    images, input_ids, *params = given

    def weighted(params: Any) -> tuple[jax.Array, jax.Array]:
        logits = dpl_jax.search_logits(clip, images, input_ids, *params)
        return (logits * jnp.sin(jnp.arange(logits.size)).reshape(logits.shape)).sum(), logits

    gradients, logits = jax.grad(weighted, has_aux=True)(params)
    return logits, gradients


def test_params_are_float32_arrays(clip: Clip) -> None:
    """A CLIP is a pytree whose only leaves are its parameters, so it can be an argument of jit."""
    leaves = jax.tree.leaves(clip.params)
    assert all(isinstance(leaf, jax.Array) and leaf.dtype == jnp.float32 for leaf in leaves)
    assert [id(leaf) for leaf in jax.tree.leaves(clip)] == [id(leaf) for leaf in leaves]
    assert set(clip.params) == {"image", "text", "logit_scale"}
    assert clip.sizes.layers == {"image": 3, "text": 2}


def test_jit(clip: Clip, given: Arguments) -> None:
    """Ids known or traced, the CLIP an argument or closed over: the same logits."""
    zero_shot = dpl_jax.zero_shot_logits(clip, given.images, given.input_ids)
    assert zero_shot.shape == (2, 3) and zero_shot.dtype == jnp.float32
    traced = jax.jit(dpl_jax.zero_shot_logits)(clip, given.images, given.input_ids)
    np.testing.assert_allclose(traced, zero_shot, rtol=0, atol=1e-5)
    closed = jax.jit(lambda images: dpl_jax.zero_shot_logits(clip, images, given.input_ids))
    np.testing.assert_allclose(closed(given.images), zero_shot, rtol=0, atol=1e-5)

    known = dpl_jax.prompted_logits(clip, given.images, given.input_ids, given.rows, LENGTHS)
    traced = jax.jit(dpl_jax.prompted_logits)(
        clip, given.images, given.input_ids, given.rows, LENGTHS
    )
    np.testing.assert_allclose(traced, known, rtol=0, atol=1e-5)


def test_no_call_moves_arrays_behind_ones_back(clip: Clip, given: Arguments) -> None:
    """Under jit nothing is copied between host and device unasked."""
    arguments = jax.device_put((clip, given.images, jnp.asarray(given.input_ids)))
    zero_shot = jax.jit(dpl_jax.zero_shot_logits)
    expected = zero_shot(*arguments)
    with jax.transfer_guard("disallow"):
        logits = zero_shot(*arguments)
    np.testing.assert_array_equal(logits, expected)


def test_grad(clip: Clip, given: Arguments) -> None:
    """A step along the gradient raises the sum by what the gradient says."""
    everything = (given.images, given.input_ids, given.prompts, given.alphas)
    logits, gradients = search_gradients(clip, everything)
    weights = np.sin(np.arange(6)).reshape(2, 3)
    norm = sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(gradients))
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradients))
    values = []
    for sign in (1, -1):
        moved = jax.tree.map(
            lambda leaf, gradient, sign=sign: leaf + sign * 1e-2 / norm**0.5 * gradient,
            [given.prompts, given.alphas],
            gradients,
        )
        moved_logits, _ = search_gradients(clip, (given.images, given.input_ids, *moved))
        values.append(float((moved_logits * weights).sum()))
    np.testing.assert_allclose((values[0] - values[1]) / 2e-2, norm**0.5, rtol=1e-2)
    eager = dpl_jax.search_logits(clip, *everything)
    np.testing.assert_allclose(logits, eager, rtol=0, atol=1e-5)


def test_vmap(clip: Clip, given: Arguments) -> None:
    """Over images one by one, and over members with lengths and prompts of their own."""
    one_by_one = jax.vmap(
        lambda image: dpl_jax.zero_shot_logits(clip, image[None], given.input_ids)[0]
    )(given.images)
    expected = dpl_jax.zero_shot_logits(clip, given.images, given.input_ids)
    np.testing.assert_allclose(one_by_one, expected, rtol=0, atol=1e-5)

    others = {"image": np.array([0, 2, 2]), "text": np.array([2, 0])}
    lengths = jax.tree.map(lambda *leaves: jnp.stack(leaves), LENGTHS, others)
    prompts = jax.tree.map(lambda rows: jnp.stack([rows, -rows]), given.rows)

    def member(prompts: Any, lengths: Any) -> jax.Array:
        return dpl_jax.prompted_logits(clip, given.images, given.input_ids, prompts, lengths)

    together = jax.jit(jax.vmap(member))(prompts, lengths)
    negative = jax.tree.map(jnp.negative, given.rows)
    for ours, alone in zip(together, [(given.rows, LENGTHS), (negative, others)], strict=True):
        np.testing.assert_allclose(ours, member(*alone), rtol=0, atol=1e-5)


def test_bfloat16(clip: Clip, clip_folder: Path, given: Arguments) -> None:
    """Only the products are bfloat16: parameters, logits and gradients stay float32."""
    half = dpl_jax.load_clip(clip_folder, dtype="bfloat16")
    everything = (given.images, given.input_ids, given.prompts, given.alphas)
    exact, wanted = search_gradients(clip, everything)
    logits, gradients = search_gradients(half, everything)
    kinds = {leaf.dtype for leaf in jax.tree.leaves((half.params, logits, gradients))}
    assert kinds == {np.dtype(np.float32)}
    # Measured: 0.1 on logits that reach to 6, and 3 % of the gradients' norms.
    assert 0 < np.abs(logits - exact).max() < 0.2
    for mine, theirs in zip(jax.tree.leaves(gradients), jax.tree.leaves(wanted), strict=True):
        assert np.linalg.norm(mine - theirs) < 0.07 * np.linalg.norm(theirs)


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((2, 3, 16, 16), np.float32, r"images have the shape \(2, 3, 16, 16\).*\(B, 16, 16, 3\)"),
        ((2, 24, 24, 3), np.float32, r"\(2, 24, 24, 3\).*\(B, 16, 16, 3\)"),
        ((16, 16, 3), np.float32, r"\(16, 16, 3\).*\(B, 16, 16, 3\)"),
        ((2, 16, 16, 1), np.float32, r"\(2, 16, 16, 1\).*\(B, 16, 16, 3\)"),
        ((2, 16, 16, 3), np.uint8, "images are uint8.*normalised floats"),
    ],
)
def test_images_that_do_not_fit(
    clip: Clip, given: Arguments, shape: tuple[int, ...], dtype: Any, message: str
) -> None:
    images = np.zeros(shape, dtype)
    with pytest.raises(ConfigError, match=message):
        dpl_jax.zero_shot_logits(clip, images, given.input_ids)
    with pytest.raises(ConfigError, match=message):
        jax.jit(dpl_jax.zero_shot_logits)(clip, images, given.input_ids)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.full((2, 41), 513), r"input_ids have the shape \(2, 41\).*its 40 positions"),
        (np.full(5, 513), r"the shape \(5,\).*\(C, S\)"),
        (np.zeros((0, 5), np.int32), r"the shape \(0, 5\)"),
        (np.zeros((2, 5)), "input_ids are float64.*whole numbers"),
        (np.array([[512, 7, 49407]]), "from 7 to 49407.*0 to 513.*clip.tokenize"),
        (np.array([[512, -1, 513]]), "from -1 to 513"),
    ],
)
def test_ids_that_do_not_fit(clip: Clip, given: Arguments, ids: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dpl_jax.zero_shot_logits(clip, given.images, ids)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": np.zeros((2, ROWS, 24))}, r'prompts\["image"\].*\(2, 3, 24\).*3 layers'),
        ({"text": np.zeros((2, ROWS, 24))}, r'prompts\["text"\].*\(2, 3, 24\).*width 16'),
        ({"text": np.zeros((2, 16))}, r'prompts\["text"\].*\(2, 16\).*\(2, rows, 16\)'),
        ({"text": np.zeros((2, 4, 16))}, "3 alphas per layer.*3 prompt rows per layer, not 4"),
    ],
)
def test_prompts_that_do_not_fit(
    clip: Clip, given: Arguments, changes: dict[str, Any], message: str
) -> None:
    prompts = given.prompts | changes
    with pytest.raises(ConfigError, match=message):
        dpl_jax.search_logits(clip, given.images, given.input_ids, prompts, given.alphas)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": np.zeros((2, T + 1))}, r'alphas\["image"\].*\(2, 3\).*\(3, T \+ 1\)'),
        ({"text": np.zeros(T + 1)}, r'alphas\["text"\].*\(3,\).*\(2, T \+ 1\)'),
        ({"text": np.zeros((2, 1))}, "1 alphas per layer"),
    ],
)
def test_alphas_that_do_not_fit(
    clip: Clip, given: Arguments, changes: dict[str, Any], message: str
) -> None:
    alphas = given.alphas | changes
    with pytest.raises(ConfigError, match=message):
        dpl_jax.search_logits(clip, given.images, given.input_ids, given.prompts, alphas)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": np.array([1, 1])}, r'lengths\["image"\].*\(2,\).*\(3,\)'),
        ({"text": np.array([1, 3])}, r'lengths\["text"\] are \[1, 3\].*2 rows per layer'),
        ({"text": np.array([-1, 2])}, r"\[-1, 2\]"),
    ],
)
def test_lengths_that_do_not_fit(
    clip: Clip, given: Arguments, changes: dict[str, Any], message: str
) -> None:
    lengths = LENGTHS | changes
    with pytest.raises(ConfigError, match=message):
        dpl_jax.prompted_logits(clip, given.images, given.input_ids, given.rows, lengths)


def test_a_tower_that_is_missing(clip: Clip, given: Arguments) -> None:
    for name in ("prompts", "alphas"):
        trees = {"prompts": given.prompts, "alphas": given.alphas}
        trees[name] = {"image": trees[name]["image"]}
        with pytest.raises(ConfigError, match=f'{name} lack "text"'):
            dpl_jax.search_logits(clip, given.images, given.input_ids, **trees)
    with pytest.raises(ConfigError, match='lengths lack "image"'):
        dpl_jax.prompted_logits(clip, given.images, given.input_ids, given.rows, {})
