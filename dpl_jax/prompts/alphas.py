"""What can be added to the search so that alpha comes nearer to a decision, or a shorter prompt.

The supernet mixes all lengths; the run after it has one per layer. Annealing and penalties narrow
that gap while the search goes on. With the defaults none of it does anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict, FrozenConfigDict

from dpl_jax.prompts.trees import TOWERS, Tree


def anneal(
    alphas: Mapping[str, jax.Array], search: ConfigDict | FrozenConfigDict, epoch: Any
) -> Tree:
    """Alphas (N, T + 1) as the supernet sees them: divided by the epoch's temperature.

    The temperature falls geometrically from 1 in the first epoch to ``search.final_temperature``
    in the last, which makes softmax(alpha) ever sharper (Xie et al., SNAS, ICLR 2019; Noy et al.,
    ASAP, AISTATS 2020).

    Args:
      alphas: {"image": (N, T + 1), "text": (N, T + 1)}.
      search: ``config.search``.
      epoch: (), may be traced.
    """
    if search.final_temperature == 1:
        return dict(alphas)
    temperature = search.final_temperature ** _progress(search, epoch)
    return {tower: alpha / temperature for tower, alpha in alphas.items()}


def finished_alphas(alphas: Mapping[str, jax.Array], search: ConfigDict | FrozenConfigDict) -> Tree:
    """Alphas (N, T + 1) as the supernet sees them after the last epoch."""
    return anneal(alphas, search, search.epochs - 1)


def penalty(
    alphas: Mapping[str, jax.Array], search: ConfigDict | FrozenConfigDict, epoch: Any
) -> jax.Array:
    """What the alpha half-step minimises besides the validation loss.

    ``search.budget`` times the expected number of prompt tokens of both towers, sum_l sum_m
    softmax(alpha_l)_m m (a resource term as in FBNet, Wu et al., CVPR 2019, equation 2), plus
    ``search.entropy``, growing linearly from 0 over the epochs, times the mean entropy of
    softmax(alpha_l) in nats (Tian et al., Discretization-aware architecture search, 2020).

    Args:
      alphas: as the supernet sees them; -inf switches a candidate off.
      search: ``config.search``.
      epoch: (), may be traced.
    """
    total = jnp.zeros(())
    if search.budget:
        total += search.budget * expected_tokens(alphas)
    if search.entropy:
        total += search.entropy * _progress(search, epoch) * mean_entropy(alphas)
    return total


def expected_tokens(alphas: Mapping[str, jax.Array]) -> jax.Array:
    """Expected prompt tokens () of all layers of both towers under softmax(alpha)."""
    weights = jnp.concatenate([jax.nn.softmax(alphas[tower]) for tower in TOWERS])  # (2N, T + 1)
    return (weights * jnp.arange(weights.shape[-1])).sum()


def mean_entropy(alphas: Mapping[str, jax.Array]) -> jax.Array:
    """Entropy () in nats of softmax(alpha), the mean over all layers of both towers.

    A weight that is exactly 0, of a candidate switched off or at a low temperature, counts 0 and
    has no gradient: that of w log w is infinite there, that of its logarithm's softmax is not.
    """
    logs = jnp.concatenate([jax.nn.log_softmax(alphas[tower]) for tower in TOWERS])  # (2N, T + 1)
    weights = jnp.exp(logs)  # (2N, T + 1)
    return -(weights * jnp.where(weights > 0, logs, 0)).sum(axis=-1).mean()


def _progress(search: ConfigDict | FrozenConfigDict, epoch: Any) -> jax.Array:
    """0 in the first epoch, 1 in the last."""
    return jnp.clip(jnp.asarray(epoch) / max(search.epochs - 1, 1), 0, 1)
