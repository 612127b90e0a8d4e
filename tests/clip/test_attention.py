"""The mixed attention against T+1 separate ones, in values and gradients."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpl_jax.clip.attention import LayerPrompts, attention, prompted_attention
from tests.support.naive import naive_attention, naive_mixture, split_candidates


class Inputs(NamedTuple):
    query: Any  # (B, S, H, d)
    key: Any  # (B, S, H, d)
    value: Any  # (B, S, H, d)
    prompt_key: Any  # (P, H, d)
    prompt_value: Any  # (P, H, d)
    alpha: Any  # (T + 1,)


def random_inputs(seed: int, B: int, S: int, H: int, d: int, T: int, scale: float = 1.0) -> Inputs:
    random = np.random.default_rng(seed)
    tokens, rows = (B, S, H, d), (T * (T + 1) // 2, H, d)
    query, key, value = (random.standard_normal(tokens) for _ in range(3))
    prompt_key, prompt_value = (random.standard_normal(rows) for _ in range(2))
    alpha = random.standard_normal(T + 1)
    return Inputs(scale * query, scale * key, value, scale * prompt_key, prompt_value, alpha)


def fast(inputs: Inputs, mask: Any = None) -> jax.Array:
    weights = jax.nn.softmax(inputs.alpha)
    sizes = tuple(range(1, len(inputs.alpha)))
    prompts = LayerPrompts(
        rows=jnp.zeros((len(inputs.prompt_key), 1)), weights=weights, sizes=sizes
    )
    return prompted_attention(*inputs[:5], prompts, mask)


def slow(inputs: Inputs, mask: Any = None) -> jax.Array:
    longest = len(inputs.alpha) - 1
    keys = split_candidates(inputs.prompt_key, longest)
    values = split_candidates(inputs.prompt_value, longest)
    candidates = list(zip(keys, values, strict=True))
    return naive_mixture(*inputs[:3], jax.nn.softmax(inputs.alpha), candidates, mask)


@functools.partial(jax.jit, static_argnums=0)
def values_and_gradients(function: Any, inputs: Inputs, mask: Any = None) -> tuple[Any, Inputs]:
    """The result, and the gradients of a sum in which every element has its own weight."""

    def weighted(inputs: Inputs) -> tuple[jax.Array, jax.Array]:
        out = function(inputs, mask)
        return (out * jnp.sin(jnp.arange(out.size)).reshape(out.shape)).sum(), out

    gradients, out = jax.grad(weighted, has_aux=True)(inputs)
    return out, gradients


def as_type(inputs: Inputs, dtype: Any) -> Inputs:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), inputs)


def assert_close(ours: Any, expected: Any, tolerance: float) -> None:
    for mine, theirs in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        assert np.isfinite(mine).all()
        size = max(1.0, float(np.abs(theirs).max(initial=0)))
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=tolerance * size)


sizes = st.tuples(
    st.integers(0, 2**16),  # seed
    st.integers(1, 2),  # B
    st.integers(1, 5),  # S
    st.integers(1, 3),  # H
    st.integers(1, 4),  # d
    st.integers(1, 4),  # T
)


@settings(max_examples=4)
@given(sizes=sizes, causal=st.booleans())
def test_equals_the_naive_mixture(sizes: tuple[int, ...], causal: bool) -> None:
    raw = random_inputs(*sizes)
    mask = jnp.tril(jnp.ones((sizes[2], sizes[2]), bool)) if causal else None
    with jax.enable_x64(True):
        inputs = as_type(raw, jnp.float64)
        expected = values_and_gradients(slow, inputs, mask)
        assert_close(values_and_gradients(fast, inputs, mask), expected, 1e-12)
        expected = jax.tree.map(np.asarray, expected)
    ours = values_and_gradients(fast, as_type(raw, jnp.float32), mask)
    assert ours[0].dtype == jnp.float32
    assert_close(ours, expected, 2e-5)


@pytest.mark.parametrize("scale", [30.0, 100.0])
@pytest.mark.parametrize("seed", range(3))
def test_huge_scores(scale: float, seed: int) -> None:
    """Scores of up to 1e4 and beyond, of both signs: finite, and equal to the naive mixture."""
    raw = random_inputs(seed, 2, 4, 2, 4, 3, scale)
    scores = np.einsum("bqhd,phd->bhqp", raw.query, raw.prompt_key) / 2
    assert np.abs(scores).max() > {30.0: 1e3, 100.0: 1e4}[scale]
    with jax.enable_x64(True):
        inputs = as_type(raw, jnp.float64)
        expected = values_and_gradients(slow, inputs)
        assert_close(values_and_gradients(fast, inputs), expected, 1e-9)
        expected = jax.tree.map(np.asarray, expected)
    out, gradients = values_and_gradients(fast, as_type(raw, jnp.float32))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((out, gradients)))
    # Scores of 1e4 are known to 1e-3 in float32, so the values agree only so far.
    np.testing.assert_allclose(out, expected[0], rtol=0, atol=2e-2)


@pytest.mark.parametrize("prompt_sign", [1.0, -1.0])
def test_one_side_takes_all(prompt_sign: float) -> None:
    """Tokens 2e4 below (or above) the prompts: where a ratio of sums would be 0/0."""
    raw = random_inputs(5, 1, 3, 1, 2, 2)
    raw = raw._replace(
        query=np.abs(raw.query) + 1,
        key=-prompt_sign * 1e4 * (1 + np.abs(raw.key)),
        prompt_key=prompt_sign * 1e4 * (1 + np.abs(raw.prompt_key)),
    )
    with jax.enable_x64(True):
        inputs = as_type(raw, jnp.float64)
        expected = values_and_gradients(slow, inputs)
        assert_close(values_and_gradients(fast, inputs), expected, 1e-9)
        expected = jax.tree.map(np.asarray, expected)
    assert_close(values_and_gradients(fast, as_type(raw, jnp.float32))[0], expected[0], 1e-4)


def test_switched_off_candidates() -> None:
    """alpha = -inf above T = 1 equals the supernet with T = 1; their rows get no gradient."""
    raw = as_type(random_inputs(7, 2, 3, 2, 4, 3), jnp.float32)
    limited = raw._replace(alpha=raw.alpha.at[2:].set(-jnp.inf))
    small = Inputs(*raw[:3], raw.prompt_key[:1], raw.prompt_value[:1], raw.alpha[:2])
    out, gradients = values_and_gradients(fast, limited)
    expected, wanted = values_and_gradients(slow, small)
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(gradients.alpha[:2], wanted.alpha, rtol=0, atol=1e-6)
    np.testing.assert_allclose(gradients.prompt_key[:1], wanted.prompt_key, rtol=0, atol=1e-6)
    for leaf in (gradients.alpha[2:], gradients.prompt_key[1:], gradients.prompt_value[1:]):
        assert not np.asarray(leaf).any()


def masked(inputs: Inputs, mask: Any, row_mask: Any) -> jax.Array:
    rows = jnp.zeros((len(inputs.prompt_key), 1))
    prompts = LayerPrompts(rows, jnp.array([0.0, 1.0]), row_mask, sizes=(len(rows),))
    return prompted_attention(*inputs[:5], prompts, mask)


@pytest.mark.parametrize("length", [0, 2, 3])
def test_masked_rows(length: int) -> None:
    """Rows beyond the length, whatever they hold, do nothing and get exactly no gradient."""
    raw = random_inputs(8, 2, 3, 2, 4, 2)
    raw.prompt_key[length:], raw.prompt_value[length:] = 1e4, 1e4
    inputs = as_type(raw, jnp.float32)
    row_mask = jnp.arange(3) < length

    def wanted(inputs: Inputs, mask: Any) -> jax.Array:
        rows = inputs.prompt_key[:length], inputs.prompt_value[:length]
        return naive_mixture(*inputs[:3], [1.0], [rows], mask)

    causal = jnp.tril(jnp.ones((3, 3), bool))
    out, gradients = values_and_gradients(lambda i, m: masked(i, m, row_mask), inputs, causal)
    expected, slow_gradients = values_and_gradients(wanted, inputs, causal)
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-6)
    for mine, theirs in zip(gradients[:5], slow_gradients[:5], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5)
    assert not np.asarray(gradients.prompt_key[length:]).any()
    assert not np.asarray(gradients.prompt_value[length:]).any()


def test_shared_keys_are_further_tokens() -> None:
    """Keys and values that a batch shares count as if each row had them in front of its own."""
    inputs = as_type(random_inputs(9, 2, 5, 2, 4, 2), jnp.float32)
    key = inputs.key.at[:, :2].set(inputs.key[:1, :2])
    value = inputs.value.at[:, :2].set(inputs.value[:1, :2])
    causal = jnp.tril(jnp.ones((5, 5), bool))
    whole = inputs._replace(key=key, value=value)

    def split(inputs: Inputs) -> jax.Array:
        prompts = LayerPrompts(jnp.zeros((3, 1)), jax.nn.softmax(inputs.alpha), sizes=(1, 2))
        return prompted_attention(
            inputs.query[:, 2:],
            inputs.key[:, 2:],
            inputs.value[:, 2:],
            inputs.prompt_key,
            inputs.prompt_value,
            prompts,
            causal[2:, 2:],
            shared=(inputs.key[0, :2], inputs.value[0, :2]),
        )

    expected = slow(whole, causal)[:, 2:]
    np.testing.assert_allclose(split(whole), expected, rtol=0, atol=1e-6)


def test_plain_attention_and_its_normaliser() -> None:
    raw = as_type(random_inputs(10, 2, 4, 2, 3, 1, scale=2.0), jnp.float32)
    causal = jnp.tril(jnp.ones((4, 4), bool))
    out, normaliser = attention(*raw[:3], causal)
    np.testing.assert_allclose(out, naive_attention(*raw[:3], causal), rtol=0, atol=1e-6)
    scores = np.einsum("bqhd,bkhd->bhqk", raw.query, raw.key) / np.sqrt(3)
    scores = np.where(np.asarray(causal), scores, -np.inf)
    np.testing.assert_allclose(normaliser, np.log(np.exp(scores).sum(-1)), rtol=0, atol=1e-5)


def test_members_by_vmap_equal_a_loop() -> None:
    """Members with prompts and alphas of their own, tokens shared, under jit."""
    inputs = as_type(random_inputs(11, 2, 3, 2, 4, 2), jnp.float32)
    factors = jnp.array([1.0, -0.5, 2.0])
    keys, values = (jnp.stack([f * x for f in factors]) for x in inputs[3:5])  # (M, P, H, d)
    alphas = jnp.stack([f * inputs.alpha for f in factors])

    def member(key: jax.Array, value: jax.Array, alpha: jax.Array) -> jax.Array:
        return fast(Inputs(*inputs[:3], key, value, alpha))

    together = jax.jit(jax.vmap(member))(keys, values, alphas)
    alone = jnp.stack([member(*each) for each in zip(keys, values, alphas, strict=True)])
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-6)


def test_bfloat16_accumulates_in_float32() -> None:
    """Scores and shares are float32 whatever the type of the products."""
    raw = random_inputs(12, 1, 64, 2, 8, 3)
    exact = fast(as_type(raw, jnp.float32))
    inputs = as_type(raw, jnp.bfloat16)
    ours = fast(inputs._replace(alpha=jnp.asarray(raw.alpha, jnp.float32)))
    assert ours.dtype == jnp.bfloat16
    assert attention(*inputs[:3])[1].dtype == jnp.float32
    np.testing.assert_allclose(np.asarray(ours, np.float32), exact, rtol=0, atol=2e-2)
