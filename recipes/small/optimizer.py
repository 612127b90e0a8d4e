"""Muon for the layers' matrices and Adam for all else; warm up, stay, cool down."""

from __future__ import annotations

from typing import Any

import jax
import ml_collections
import optax
from optax.contrib import MuonDimensionNumbers, muon

from dpl_jax.clip.weights import Params

RMS = 0.2  # size of Muon's updates beside Adam's (Liu et al., 2025, section 2.2)


def make_schedule(config: ml_collections.ConfigDict, epoch_steps: int) -> optax.Schedule:
    """The learning rate by step: constant after the warm-up, linear to 0 in the cool-down.

    Only the cool-down depends on the number of epochs (WSD: Hu et al., 2024).
    """
    total = config.epochs * epoch_steps
    down = min(config.cooldown_epochs * epoch_steps, total)
    warmup = min(config.warmup_steps, total - down)
    return optax.join_schedules(
        [
            optax.linear_schedule(0.0, config.learning_rate, max(warmup, 1)),
            optax.constant_schedule(config.learning_rate),
            optax.linear_schedule(config.learning_rate, 0.0, max(down, 1)),
        ],
        [warmup, total - down],
    )


def make_optimizer(
    config: ml_collections.ConfigDict, epoch_steps: int
) -> optax.GradientTransformation:
    """Returns the optimiser of the whole run."""
    schedule = make_schedule(config, epoch_steps)
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        muon(
            schedule,
            weight_decay=config.weight_decay,
            weight_decay_mask=_is_weight,
            adam_weight_decay=config.weight_decay,
            consistent_rms=RMS,
            muon_weight_dimension_numbers=_layer_matrices,
        ),
    )


def _is_weight(params: Params) -> Any:
    """Marks what decays: no gains, biases, or the logit scale."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: path[-1].key in ("kernel", "embedding"), params
    )


def _layer_matrices(params: Params) -> Any:
    """Muon's axes of the layers' matrices (N, in, out); None for what Adam updates."""

    def axes(path: Any, _leaf: Any) -> MuonDimensionNumbers | None:
        keys = [part.key for part in path]
        return MuonDimensionNumbers(1, 2) if "layers" in keys and keys[-1] == "kernel" else None

    return jax.tree_util.tree_map_with_path(axes, params)
