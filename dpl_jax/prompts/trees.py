"""Prompt rows and alphas: their trees, how they start, and how the towers see them.

The supernet's prompts hold every candidate length m = 1..T of every layer, one after the other:
E_1 (1 row), E_2 (2 rows), .. E_T, so P = T (T + 1) / 2 rows per layer::

    prompts   {"image": (N, P, D), "text": (N, P, D)}
    alphas    {"image": (N, T + 1), "text": (N, T + 1)}

After the search each layer has one length; rows beyond it are masked::

    prompts   {"image": (N, K, D), "text": (N, K, D)}
    lengths   {"image": (N,), "text": (N,)}
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dpl_jax.clip.attention import LayerPrompts
from dpl_jax.clip.config import ClipConfig
from dpl_jax.errors import ConfigError
from dpl_jax.files import limits

TOWERS = ("image", "text")
Tree = dict[str, jax.Array]
HostTree = dict[str, np.ndarray]


def candidate_sizes(max_context_length: int) -> tuple[int, ...]:
    """Rows of the candidates that have any: (1, 2, .., T)."""
    return tuple(range(1, max_context_length + 1))


def candidate_rows(max_context_length: int) -> int:
    """P = T (T + 1) / 2, the prompt rows of one supernet layer."""
    return max_context_length * (max_context_length + 1) // 2


def supernet_prompts(prompts: jax.Array, alpha: jax.Array) -> LayerPrompts:
    """How one tower sees the supernet: every candidate weighted by softmax(alpha).

    Args:
      prompts: (N, P, D).
      alpha: (N, T + 1); -inf switches a candidate off.

    Raises:
      ConfigError: when P is not T (T + 1) / 2.
    """
    max_context_length = alpha.shape[-1] - 1
    if max_context_length < 1 or prompts.shape[-2] != candidate_rows(max_context_length):
        raise ConfigError(
            f"A supernet with {alpha.shape[-1]} alphas per layer (lengths 0 to "
            f"{max_context_length}) has {candidate_rows(max(max_context_length, 0))} prompt rows "
            f"per layer, not {prompts.shape[-2]}."
        )
    weights = jax.nn.softmax(alpha, axis=-1)
    return LayerPrompts(prompts, weights, sizes=candidate_sizes(max_context_length))


def limit_alphas(alphas: Mapping[str, jax.Array], max_context_length: Any) -> Tree:
    """Alphas of a supernet with a smaller T: -inf for the candidates that are longer.

    Their weights are then exactly zero, and so are all gradients of them and of their rows.

    Args:
      alphas: {"image": (N, T + 1), "text": (N, T + 1)}.
      max_context_length: (), the smaller T; it may be traced.
    """
    return {
        tower: jnp.where(jnp.arange(alpha.shape[-1]) <= max_context_length, alpha, -jnp.inf)
        for tower, alpha in alphas.items()
    }


def discrete_prompts(prompts: jax.Array, lengths: Any) -> LayerPrompts | None:
    """How one tower sees prompts of one chosen length per layer; None when there are no rows.

    Args:
      prompts: (N, K, D).
      lengths: (N,) numbers of rows in use; rows beyond them do nothing.
    """
    layers, longest = prompts.shape[:2]
    if longest == 0:
        return None
    mask = jnp.arange(longest) < jnp.asarray(lengths)[:, None]  # (N, K)
    weights = jnp.broadcast_to(jnp.array([0.0, 1.0], jnp.float32), (layers, 2))
    return LayerPrompts(prompts, weights, mask, sizes=(longest,))


def init_supernet(
    sizes: ClipConfig, max_context_length: int, seed: int, scale: Mapping[str, float]
) -> tuple[Tree, Tree]:
    """Initial prompts and alphas of a search.

    Image prompts start at normal(0, scale), text prompts uniform in [0, scale), alphas at
    1e-3 * normal, as in the released code with scale 1. Every candidate has its own random
    stream, so a search with a smaller T starts with the same rows.

    Args:
      sizes: of the CLIP.
      max_context_length: T.
      seed: of the run.
      scale: {"image": .., "text": ..}.

    Returns:
      Prompts {"image": (N, P, D), ..} and alphas {"image": (N, T + 1), ..}.

    Raises:
      ConfigError: when T < 1.
    """
    check_max_context_length(max_context_length)
    prompts: Tree = {}
    alphas: Tree = {}
    for tower in TOWERS:
        draw = jax.random.normal if tower == "image" else jax.random.uniform
        layers, width = sizes.layers[tower], sizes.widths[tower]
        candidates = [
            draw(_key(seed, tower, "prompt", size), (layers, size, width))  # (N, m, D)
            for size in candidate_sizes(max_context_length)
        ]
        prompts[tower] = scale[tower] * jnp.concatenate(candidates, axis=1)  # (N, P, D)
        alphas[tower] = 1e-3 * jnp.stack(
            [
                jax.random.normal(_key(seed, tower, "alpha", length), (layers,))
                for length in range(max_context_length + 1)
            ],
            axis=1,
        )  # (N, T + 1)
    return prompts, alphas


def init_discrete(
    sizes: ClipConfig, lengths: Mapping[str, np.ndarray], seed: int, scale: float
) -> Tree:
    """Initial prompts {"image": (N, K, D), ..} of stage 2: normal(0, scale), K the longest.

    Every row has its own random stream, so the rows in use do not depend on K.
    """
    prompts: Tree = {}
    for tower in TOWERS:
        longest = int(np.max(lengths[tower], initial=0))
        shape = (sizes.layers[tower], sizes.widths[tower])
        rows = [
            jax.random.normal(_key(seed, tower, "row", row), shape) for row in range(longest)
        ]  # K of (N, D)
        prompts[tower] = (
            scale * jnp.stack(rows, axis=1) if rows else jnp.zeros((shape[0], 0, shape[1]))
        )
    return prompts


def inherit_rows(prompts: Mapping[str, Any], lengths: Mapping[str, np.ndarray]) -> Tree:
    """A supernet's rows of the chosen lengths, {"image": (N, K, D), ..}, zero beyond a length.

    Args:
      prompts: {"image": (N, P, D), "text": (N, P, D)}.
      lengths: {"image": (N,), "text": (N,)}, none beyond T.
    """
    inherited: Tree = {}
    for tower in TOWERS:
        rows, own = np.asarray(prompts[tower]), np.asarray(lengths[tower])
        kept = np.zeros(
            (len(own), int(own.max(initial=0)), rows.shape[-1]), np.float32
        )  # (N, K, D)
        for layer, length in enumerate(own):
            first = candidate_rows(int(length) - 1)
            kept[layer, :length] = rows[layer, first : first + length]
        inherited[tower] = jnp.asarray(kept)
    return inherited


def choose_lengths(alphas: Mapping[str, Any]) -> tuple[HostTree, HostTree, HostTree]:
    """What a search decided.

    Returns:
      Lengths (N,), the argmax of each row of alpha, ties to the shorter; confidences (N,), the
      softmax weights of the chosen lengths; and all softmax weights (N, T + 1).
    """
    weights = {tower: np.asarray(jax.nn.softmax(alphas[tower], axis=-1)) for tower in TOWERS}
    lengths = {tower: np.asarray(alphas[tower]).argmax(axis=-1) for tower in TOWERS}
    confidences = {tower: weights[tower].max(axis=-1) for tower in TOWERS}
    return lengths, confidences, weights


def check_max_context_length(max_context_length: int) -> None:
    """Raises ConfigError when T < 1: there would be nothing to search."""
    if max_context_length < 1:
        raise ConfigError(
            f"search.max_context_length is {max_context_length}; it must be at least 1, the "
            "longest prompt a layer may get."
        )


def check_lengths(lengths: Mapping[str, Any], sizes: ClipConfig, where: str) -> None:
    """Raises ConfigError unless ``lengths`` has one whole number >= 0 for every layer."""
    for tower in TOWERS:
        values, layers = lengths.get(tower, ()), sizes.layers[tower]
        if isinstance(values, np.ndarray):
            values = values.tolist()
        if (
            not isinstance(values, list | tuple)
            or len(values) != layers
            or any(type(value) is not int for value in values)
            or not all(0 <= value <= limits.PROMPT_ROWS for value in values)
        ):
            raise ConfigError(
                f'{where}: lengths["{tower}"] must be {layers} whole numbers >= 0 (and at most '
                f"{limits.PROMPT_ROWS}), one for each layer of the {tower} tower; found "
                f"{values!r:.500}."
            )


def _key(seed: int, tower: str, what: str, candidate: int) -> jax.Array:
    """A random key of its own for every seed, tower and candidate."""
    name = zlib.crc32(f"{tower}/{what}/{candidate}".encode())
    return jax.random.fold_in(jax.random.key(seed), name)
