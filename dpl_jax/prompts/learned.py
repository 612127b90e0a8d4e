"""What was learned, and how the towers see it: a supernet, or prompts of chosen lengths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
from flax import struct

from dpl_jax.clip.features import TowerPrompts
from dpl_jax.prompts.trees import TOWERS, discrete_prompts, supernet_prompts


class Supernet(struct.PyTreeNode):
    """All candidate lengths of every layer, mixed by softmax(alpha).

    Attributes:
      prompts: {"image": (N, P, D), "text": (N, P, D)}, P = T (T + 1) / 2.
      alphas: {"image": (N, T + 1), "text": (N, T + 1)}.
    """

    prompts: Mapping[str, jax.Array]
    alphas: Mapping[str, jax.Array]

    def view(self) -> TowerPrompts:
        """What each tower attends to."""
        return {
            tower: supernet_prompts(self.prompts[tower], self.alphas[tower]) for tower in TOWERS
        }


class Discrete(struct.PyTreeNode):
    """One length per layer.

    Attributes:
      prompts: {"image": (N, K, D), "text": (N, K, D)}, K the longest length.
      lengths: {"image": (N,), "text": (N,)}; rows beyond a layer's length do nothing.
    """

    prompts: Mapping[str, jax.Array]
    lengths: Mapping[str, Any]

    def view(self) -> TowerPrompts:
        """What each tower attends to."""
        return {
            tower: discrete_prompts(self.prompts[tower], self.lengths[tower]) for tower in TOWERS
        }


Learned = Supernet | Discrete
