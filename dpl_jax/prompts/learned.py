"""What was learned, and how the towers see it: a supernet, or prompts of chosen lengths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from dpl_jax.clip.config import ClipConfig
from dpl_jax.clip.features import TowerPrompts
from dpl_jax.prompts.checks import check_alphas, check_prompt_lengths, check_prompts
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


def learned_from(params: Mapping[str, Any], kind: str, sizes: ClipConfig) -> Learned:
    """Checked arrays from a file, on the device.

    Args:
      params: {"prompts": .., "alphas": ..} or {"prompts": .., "lengths": ..}.
      kind: "alphas" or "lengths".
      sizes: of the CLIP that they have to fit.

    Raises:
      ConfigError, KeyError, TypeError, ValueError, AttributeError: they do not.
    """
    prompts, own = params["prompts"], params[kind]
    check_prompts(prompts, sizes)
    if kind == "alphas":
        check_alphas(own, sizes)
    else:
        check_prompt_lengths(own, prompts, sizes)
    prompts, own = jax.tree.map(jnp.asarray, (dict(prompts), dict(own)))
    return Supernet(prompts, own) if kind == "alphas" else Discrete(prompts, own)
