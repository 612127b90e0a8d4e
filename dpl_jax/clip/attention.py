"""Self-attention with prompt rows as extra keys and values: all candidates for the price of one.

Differentiable Prompt Learning (Huang et al., IJCAI 2025) mixes T+1 attentions that differ only in
the few prompt rows they see. They share everything else, so one attention over the tokens and one
over all rows, each candidate normalised by its own log-sum-exp, give the same sum exactly.
"""

from __future__ import annotations

from typing import TypeAlias

import jax
import jax.numpy as jnp
from flax import struct

# Keys and values (K, H, d) that are the same for every row of the batch.
Shared: TypeAlias = tuple[jax.Array, jax.Array]

# Stands for masked scores. Finite, so that log-sum-exp over masked rows has a gradient (of zero).
MASKED = -1e30


class LayerPrompts(struct.PyTreeNode):
    """The prompt rows of one layer (or of all, with a leading axis N) and how they are mixed.

    The rows are split into consecutive candidates; candidate g sees its own ``sizes[g]`` rows and
    all tokens. The layer's attention is the weighted sum of the plain one and the candidates'.

    Attributes:
      rows: (P, D) prompt vectors, before LayerNorm.
      weights: (1 + G,) weight of the plain attention, then of each candidate; they sum to 1.
      mask: (P,) true where a row exists, or None when all do.
      sizes: G numbers of rows, summing to P.
    """

    rows: jax.Array
    weights: jax.Array
    mask: jax.Array | None = None
    sizes: tuple[int, ...] = struct.field(pytree_node=False, default=())


def attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    token_mask: jax.Array | None = None,
    shared: Shared | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Plain scaled dot-product attention that also returns its log-sum-exp.

    Args:
      query: (B, S, H, d).
      key: (B, K, H, d).
      value: (B, K, H, d).
      token_mask: broadcasts to (B, H, S, K), true where a query may look; None for no mask.
      shared: further keys and values that every query of every row sees, such as those of a
        prefix that all texts have in common.

    Returns:
      The attended values (B, S, H, d), and the log-sum-exp (B, H, S) of the scores, in float32
      or wider.
    """
    scores = _scores("bqhd,bkhd->bhqk", query, key)  # (B, H, S, K)
    if token_mask is not None:
        scores = jnp.where(token_mask, scores, MASKED)
    probabilities, normaliser = _softmax(scores)
    attended = _weighted_sum("bhqk,bkhd->bqhd", probabilities, value)  # (B, S, H, d)
    if shared is None:
        return attended, normaliser
    scores = _scores("bqhd,khd->bhqk", query, shared[0])  # (B, H, S, K of shared)
    probabilities, shared_normaliser = _softmax(scores)
    shared_attended = _weighted_sum("bhqk,khd->bqhd", probabilities, shared[1])
    share = jnp.swapaxes(jax.nn.sigmoid(normaliser - shared_normaliser), 1, 2)[..., None]
    mixed = share * attended + (1 - share) * shared_attended  # share (B, S, H, 1)
    return mixed, jnp.logaddexp(normaliser, shared_normaliser)


def prompted_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    prompt_key: jax.Array,
    prompt_value: jax.Array,
    prompts: LayerPrompts,
    token_mask: jax.Array | None = None,
    shared: Shared | None = None,
) -> jax.Array:
    """The weighted sum of the attentions over tokens + candidate, in one attention.

    With s_x the scores on tokens, s_g those on candidate g's rows, L_x and L_g their log-sum-exps,
    and S the logistic function, the softmax over both together splits into two::

        out = [a_0 + sum_g a_g S(L_x - L_g)] softmax(s_x) V_x
              + sum_g a_g S(L_g - L_x) softmax(s_g) V_g

    Every softmax subtracts its own maximum and S takes any argument, so nothing overflows, no 0/0
    can arise, and the shares add up to 1, whatever the scores.

    Args:
      query: (B, S, H, d).
      key: (B, K, H, d).
      value: (B, K, H, d).
      prompt_key: (P, H, d), the rows' keys.
      prompt_value: (P, H, d), the rows' values.
      prompts: the weights, mask and sizes of the candidates.
      token_mask: as in :func:`attention`; every query sees every prompt row.
      shared: as in :func:`attention`.

    Returns:
      (B, S, H, d) mixed values, before the output projection.
    """
    attended, token_normaliser = attention(query, key, value, token_mask, shared)
    scores = _prompt_scores(query, prompt_key, prompts)  # (B, H, S, P)
    token_share, row_shares = _shares(scores, token_normaliser, prompts)
    token_share = jnp.swapaxes(token_share, 1, 2)[..., None]  # (B, S, H, 1)
    mixed = token_share * attended + _weighted_sum("bhqp,phd->bqhd", row_shares, prompt_value)
    return mixed.astype(value.dtype)


def prompt_mass(
    query: jax.Array,
    key: jax.Array,
    prompt_key: jax.Array,
    prompts: LayerPrompts,
    token_mask: jax.Array | None = None,
) -> jax.Array:
    """The share (B, H, S) of each query's attention that goes to prompt rows, 0 to 1.

    It is sum_g a_g S(L_g - L_x) in the formula of :func:`prompted_attention`, in float32 or wider;
    the tokens get the rest. The arguments are the same.
    """
    _, token_normaliser = attention(query, key, key, token_mask)  # whatever the values
    scores = _prompt_scores(query, prompt_key, prompts)  # (B, H, S, P)
    return _shares(scores, token_normaliser, prompts)[1].sum(axis=-1)


def _prompt_scores(query: jax.Array, prompt_key: jax.Array, prompts: LayerPrompts) -> jax.Array:
    scores = _scores("bqhd,phd->bhqp", query, prompt_key)  # (B, H, S, P)
    return scores if prompts.mask is None else jnp.where(prompts.mask, scores, MASKED)


def _shares(
    scores: jax.Array, token_normaliser: jax.Array, prompts: LayerPrompts
) -> tuple[jax.Array, jax.Array]:
    """How much of the tokens' attention (B, H, S) and of each row (B, H, S, P) is in the sum."""
    token_share = jnp.broadcast_to(prompts.weights[0], token_normaliser.shape)
    row_shares = []
    start = 0
    for candidate, size in enumerate(prompts.sizes, start=1):
        own = scores[..., start : start + size]  # (B, H, S, size)
        probabilities, normaliser = _softmax(own)
        weight = prompts.weights[candidate]
        token_share += weight * jax.nn.sigmoid(token_normaliser - normaliser)
        share = weight * jax.nn.sigmoid(normaliser - token_normaliser)  # (B, H, S)
        row_shares.append(share[..., None] * probabilities)
        start += size
    return token_share, jnp.concatenate(row_shares, axis=-1)


def _softmax(scores: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Softmax over the last axis, and the log-sum-exp that it divides by."""
    top = jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True))
    exponentials = jnp.exp(scores - top)
    total = exponentials.sum(axis=-1, keepdims=True)
    return exponentials / total, (top + jnp.log(total))[..., 0]


def _scores(equation: str, query: jax.Array, key: jax.Array) -> jax.Array:
    """Scaled scores, accumulated and kept in float32 (or wider)."""
    wide = jnp.promote_types(query.dtype, jnp.float32)
    return jnp.einsum(equation, query, key, preferred_element_type=wide) * query.shape[-1] ** -0.5


def _weighted_sum(equation: str, weights: jax.Array, value: jax.Array) -> jax.Array:
    wide = jnp.promote_types(value.dtype, jnp.float32)
    return jnp.einsum(equation, weights.astype(value.dtype), value, preferred_element_type=wide)
