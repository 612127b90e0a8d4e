"""What alphas say beyond the chosen lengths: with a smaller T, and beside another search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from dpl_jax.errors import ConfigError
from dpl_jax.prompts.trees import TOWERS, HostTree, choose_lengths, limit_alphas


class Choice(NamedTuple):
    """Chosen lengths (N,) of each tower, and the softmax weights (N,) of these lengths."""

    lengths: HostTree
    confidences: HostTree


def choices_within(alphas: Mapping[str, Any]) -> dict[int, Choice]:
    """What a search would have chosen, had it been allowed 1, 2, .. T prompt tokens at the end.

    Longer candidates are switched off after the search; a search with that T from the start has
    other prompts and alphas (``launch/ablate.py`` runs those).

    Args:
      alphas: {"image": (N, T + 1), "text": (N, T + 1)}.

    Returns:
      The choice within each limit; the last is the search's own.
    """
    longest = np.shape(alphas["image"])[-1] - 1
    return {
        limit: Choice(*choose_lengths(limit_alphas(alphas, limit))[:2])
        for limit in range(1, longest + 1)
    }


def alpha_distance(one: Mapping[str, Any], other: Mapping[str, Any]) -> HostTree:
    """How far apart two searches are in each layer: the total variation of their softmax weights.

    Half the sum of the absolute differences of the weights: 0 where they are the same, 1 where no
    length has weight in both.

    Args:
      one: {"image": (N, T + 1), "text": (N, T + 1)}.
      other: the same shapes.

    Returns:
      {"image": (N,), "text": (N,)}, 0 to 1.

    Raises:
      ConfigError: when the two have other numbers of layers or of candidates.
    """
    for tower in TOWERS:
        shapes = np.shape(one[tower]), np.shape(other[tower])
        if shapes[0] != shapes[1]:
            raise ConfigError(
                f"The {tower} towers' alphas have the shapes {shapes[0]} and {shapes[1]}; only "
                "searches of one CLIP with the same max_context_length compare."
            )
    weights = [choose_lengths(alphas)[2] for alphas in (one, other)]
    return {
        tower: np.abs(weights[0][tower] - weights[1][tower]).sum(axis=-1) / 2 for tower in TOWERS
    }
