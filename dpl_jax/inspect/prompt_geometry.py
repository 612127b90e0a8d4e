"""Trained prompt rows as vectors: lengths, directions, and the words they are near to."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dpl_jax.clip.model import Clip
from dpl_jax.clip.transformer import layer_norm


class Rows(NamedTuple):
    """The prompt rows in use of one tower.

    Attributes:
      vectors: (R, D), layer by layer.
      layers: (R,) the layer of each, from 0.
    """

    vectors: np.ndarray
    layers: np.ndarray


class Neighbours(NamedTuple):
    """The entries of the vocabulary nearest to a vector, nearest first, and their cosines."""

    tokens: list[str]
    cosines: list[float]


def used_rows(prompts: Any, lengths: Any) -> Rows:
    """The rows in use of prompts (N, K, D) with lengths (N,)."""
    prompts, lengths = np.asarray(prompts, np.float32), np.asarray(lengths)
    used = np.arange(prompts.shape[1]) < lengths[:, None]  # (N, K)
    return Rows(prompts[used], np.nonzero(used)[0])  # (R, D), (R,)


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Cosines (R, Q) of the angles between vectors (R, D) and (Q, D)."""
    one, other = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in (one, other))
    return one @ other.T  # (R, Q)


def layer_similarity(rows: Rows, layers: int) -> np.ndarray:
    """Mean cosine (N, N) between the rows of every two of N ``layers``.

    On the diagonal, between different rows of one layer. NaN where there is no such pair.
    """
    between = cosines(rows.vectors, rows.vectors)  # (R, R)
    different = ~np.eye(len(between), dtype=bool)
    similarity = np.full((layers, layers), np.nan)
    for i, j in np.ndindex(layers, layers):
        pairs = (rows.layers[:, None] == i) & (rows.layers == j) & different
        if pairs.any():
            similarity[i, j] = between[pairs].mean()
    return similarity


def nearest_tokens(
    clip: Clip, vectors: Any, count: int = 3, *, as_layer_sees: bool = False
) -> list[Neighbours]:
    """The tokens of the vocabulary whose embeddings point most nearly where prompt rows do.

    The text tower adds a token's position to its embedding, and its first layer takes both, as it
    takes its prompt rows, through LayerNorm. Only directions count there, so cosines compare. The
    answer for a random vector is not zero; see :func:`chance_cosines`.

    Args:
      clip: a frozen CLIP.
      vectors: (R, D) prompt rows of the text tower's first layer.
      count: how many tokens of each.
      as_layer_sees: False compares the rows with the token embeddings as they are stored. True
        compares both behind the first layer's LayerNorm, tokens at their mean position, each
        without the vocabulary's mean: what all tokens share says nothing about any.

    Returns:
      R entries.
    """
    vectors, tokens = _comparable(clip, vectors, as_layer_sees)
    between = cosines(vectors, tokens)  # (R, V)
    nearest = np.argsort(-between, axis=-1, kind="stable")[:, :count]
    return [
        Neighbours(clip.tokenizer.pieces(own), between[row, own].tolist())
        for row, own in enumerate(nearest)
    ]


def chance_cosines(
    clip: Clip, *, as_layer_sees: bool = False, draws: int = 1000, seed: int = 0
) -> np.ndarray:
    """Cosines (draws,) of random normal vectors with the token that is nearest to each.

    Args:
      clip: a frozen CLIP.
      as_layer_sees: as in :func:`nearest_tokens`.
      draws: how many.
      seed: of them.
    """
    width = clip.sizes.text.hidden_size
    random = np.random.default_rng(seed).standard_normal((draws, width), np.float32)
    vectors, tokens = _comparable(clip, random, as_layer_sees)
    nearest: np.ndarray = cosines(vectors, tokens).max(axis=-1)
    return nearest


def _comparable(clip: Clip, vectors: Any, as_layer_sees: bool) -> tuple[np.ndarray, np.ndarray]:
    """Rows (R, D) and token embeddings (V, D) in the space where they are compared."""
    params = clip.params["text"]
    vectors, tokens = jnp.asarray(vectors), params["token_embedding"]["embedding"]
    if not as_layer_sees:
        return np.asarray(vectors), np.asarray(tokens)
    tokens = tokens + params["position_embedding"].mean(axis=0)
    scales = jax.tree.map(lambda leaf: leaf[0], params["encoder"]["layers"]["layer_norm1"])
    norm = layer_norm(clip.sizes.text, "layer_norm1")
    seen = [np.asarray(norm.apply({"params": scales}, x)) for x in (vectors, tokens)]
    mean = seen[1].mean(axis=0)
    return seen[0] - mean, seen[1] - mean
