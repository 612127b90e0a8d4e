"""Prompt lengths that nobody searched for: random ones of equal cost, and uniform ones."""

from __future__ import annotations

import random
from collections.abc import Mapping

import numpy as np

from dpl_jax.clip.config import ClipConfig
from dpl_jax.errors import ConfigError
from dpl_jax.prompts.lengths_file import Lengths
from dpl_jax.prompts.trees import TOWERS


def random_lengths(layers: Mapping[str, int], longest: int, total: int, seed: int) -> Lengths:
    """Lengths with ``total`` prompt tokens in both towers together, any such as likely as another.

    All configurations with that total are counted layer by layer, and the one of a random number
    is written out: exactly uniform, without trying and rejecting.

    Args:
      layers: {"image": N, "text": N}.
      longest: the most tokens in one layer.
      total: of both towers together, as :func:`dpl_jax.prompts.lengths_file.prompt_tokens` counts
        it.
      seed: the same seed draws the same lengths.

    Returns:
      {"image": (N,), "text": (N,)}.

    Raises:
      ConfigError: when no lengths have this total.
    """
    count = sum(layers[tower] for tower in TOWERS)
    if longest < 0 or not 0 <= total <= count * longest:
        raise ConfigError(
            f"{count} layers of at most {longest} prompt tokens cannot have {total} in total; "
            f"such lengths have from 0 to {count * max(longest, 0)}."
        )
    ways = _ways(count, longest, total)
    number = random.Random(seed).randrange(ways[count][total])
    drawn: list[int] = []
    for behind in reversed(range(count)):  # layers behind this one
        length = 0
        while number >= ways[behind][total - length]:
            number -= ways[behind][total - length]
            length += 1
        drawn.append(length)
        total -= length
    image, text = np.split(np.array(drawn, np.int32), [layers["image"]])
    return {"image": image, "text": text}


def uniform_lengths(sizes: ClipConfig, n: int, depth: int | None = None) -> Lengths:
    """``n`` tokens in every layer of both towers, or only in the first ``depth`` layers.

    Raises:
      ConfigError: when ``n`` or ``depth`` is negative.
    """
    if n < 0 or (depth is not None and depth < 0):
        raise ConfigError(f"n is {n} and depth {depth}; neither may be negative.")
    return {
        tower: np.where(np.arange(layers) < (layers if depth is None else depth), n, 0).astype(
            np.int32
        )
        for tower, layers in sizes.layers.items()
    }


def _ways(count: int, longest: int, total: int) -> list[list[int]]:
    """ways[k][s]: in how many ways k layers can have s tokens together."""
    ways = [[1] + [0] * total]
    for _ in range(count):
        before = ways[-1]
        ways.append([sum(before[max(0, s - longest) : s + 1]) for s in range(total + 1)])
    return ways
