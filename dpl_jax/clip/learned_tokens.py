"""Learned tokens that stand in a tower's sequence, as other prompt-learning methods have them.

Unlike :class:`dpl_jax.clip.attention.LayerPrompts` they are queries too and pass through whole
layers.
"""

from __future__ import annotations

from typing import TypeAlias

import jax
import jax.numpy as jnp

# One layer's tokens (n, D), or (B, n, D) for each row its own, and () whether the layer has any.
LayerTokens: TypeAlias = tuple[jax.Array, jax.typing.ArrayLike]


def put_tokens(x: jax.Array, own: LayerTokens | None, at: int) -> jax.Array:
    """Hidden states (B, S, D) in which a layer's own tokens, if any, replace those from ``at``."""
    if own is None:
        return x
    tokens, there = own
    before = jax.lax.slice_in_dim(x, at, at + tokens.shape[-2], axis=1)  # (B, n, D)
    after = jnp.where(there, tokens, before).astype(x.dtype)
    return jax.lax.dynamic_update_slice_in_dim(x, after, at, axis=1)


def append_tokens(x: jax.Array, tokens: jax.Array) -> jax.Array:
    """Hidden states (B, S, D) with tokens (n, D) behind every row."""
    repeated = jnp.broadcast_to(tokens, (x.shape[0], *tokens.shape)).astype(x.dtype)
    return jnp.concatenate([x, repeated], axis=1)  # (B, S + n, D)


def deeper_tokens(tokens: jax.Array | None, layers: int) -> LayerTokens | None:
    """What the layers replace: tokens (N, ..), and (N,) true for the layers 1 .. L-1.

    Args:
      tokens: (L, n, D) or (L, B, n, D), L <= N; the first are those of the tower's input.
      layers: N.
    """
    if tokens is None or len(tokens) == 1:
        return None
    padding = [(0, layers - len(tokens))] + [(0, 0)] * (tokens.ndim - 1)
    number = jnp.arange(layers)
    return jnp.pad(tokens, padding), (number > 0) & (number < len(tokens))
