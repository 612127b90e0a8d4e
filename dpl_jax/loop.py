"""The loop that both stages share: epochs, numbers checked, metrics, checkpoints, resuming."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dpl_jax.checkpoints import Checkpoints
from dpl_jax.errors import NumericsError
from dpl_jax.metrics_log import (
    append_metrics,
    tensorboard_events,
    truncate_metrics,
    wandb_rows,
)
from dpl_jax.progress import progress
from dpl_jax.run_folder import RunFolder
from dpl_jax.steps import Metrics, State

RunEpoch = Callable[[State, int], tuple[State, Metrics]]
Describe = Callable[[State], dict[str, Any]]


def run_epochs(
    run: RunFolder,
    state: State,
    run_epoch: RunEpoch,
    *,
    kind: str,
    epochs: int,
    config: ConfigDict,
    describe: Describe = lambda state: {},
) -> State:
    """Runs the epochs that are left and returns the last state.

    Args:
      run: the folder; its newest good checkpoint is where the run goes on.
      state: before the first step; its arrays are donated.
      run_epoch: (state, epoch) to the next state and metrics with a leading axis of steps,
        ``{"train": {"loss": .., "accuracy": .., "finite": ..}, ..}``; a second axis is members.
      kind: what the progress bar calls it.
      epochs: in all.
      config: the whole config.
      describe: further fields of the epoch's line in metrics.jsonl.

    Raises:
      NumericsError: when a loss or parameter is not finite; the last good checkpoint stays.
      CheckpointError: when a checkpoint does not fit or cannot be written.
    """
    with Checkpoints(run.checkpoints, keep=config.checkpoint.keep) as checkpoints:
        state, first = _resume(run, checkpoints, state)
        with (
            progress(epochs, kind, config.progress, start=first) as bar,
            tensorboard_events(run, config.tensorboard, int(state.step)) as write_events,
            wandb_rows(run, config, kind) as log_row,
        ):
            for epoch in range(first, epochs):
                state, metrics = run_epoch(state, epoch)
                metrics = jax.device_get(metrics)
                _check_finite(metrics, int(state.step), run)
                row = _summary(metrics, int(state.step), epoch + 1) | describe(state)
                append_metrics(run, [row])
                write_events(row)
                log_row(row)
                bar.update(epoch + 1, **_shown_fields(row))
                if (epoch + 1) % config.checkpoint.every_epochs == 0 or epoch + 1 == epochs:
                    done = {"epoch": epoch + 1, "order_seed": config.seed}
                    checkpoints.save(int(state.step), state, done)
    return state


def join_steps(parts: Sequence[Metrics]) -> Metrics:
    """Metrics of an epoch from those of its chunks; every leaf has a leading axis of steps."""
    if len(parts) == 1:
        return parts[0]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def _resume(run: RunFolder, checkpoints: Checkpoints, state: State) -> tuple[State, int]:
    """The newest good checkpoint and the epochs it has done, or the initial state and 0."""
    restored = checkpoints.restore_latest(state)
    if restored is None:
        truncate_metrics(run, 0)
        return state, 0
    truncate_metrics(run, restored.step)
    return restored.tree, restored.metadata["epoch"]


def _check_finite(metrics: Metrics, step: int, run: RunFolder) -> None:
    """Raises NumericsError naming the first step and half-step that went wrong."""
    finite = {split: _all_members(values["finite"]) for split, values in metrics.items()}
    steps = len(next(iter(finite.values())))
    for index in range(steps):
        wrong = [split for split, values in finite.items() if not values[index]]
        if wrong:
            what = " and ".join("alpha" if split == "val" else "prompts" for split in wrong)
            losses = ", ".join(f"{s} loss {metrics[s]['loss'][index]}" for s in metrics)
            raise NumericsError(
                f"Step {step - steps + index + 1}: the loss or the {what} became not finite "
                f"({losses}). Likely causes: a learning rate or prompt_scale that is too large, "
                f"or bfloat16. The checkpoints in {run.checkpoints} hold the last good state; "
                "start again with other settings in another folder."
            )


def _all_members(finite: Any) -> np.ndarray:
    """(steps,), from (steps,) of one run or (steps, M) of its members."""
    return np.logical_and.reduce(np.reshape(finite, (len(finite), -1)), axis=1)


def _summary(metrics: Mapping[str, Any], step: int, epoch: int) -> dict[str, Any]:
    """Means over the epoch's steps: val_loss, train_loss, ..; of each member too, if there are."""
    row: dict[str, Any] = {"step": step, "epoch": epoch}
    members: dict[str, Any] = {}
    for split, values in metrics.items():
        for name in ("loss", "accuracy"):
            mean = np.mean(values[name], axis=0, dtype=np.float64)  # () or (M,)
            row[f"{split}_{name}"] = float(mean.mean())
            if mean.ndim:
                members[f"{split}_{name}"] = mean
    return row | ({"members": members} if members else {})


def _shown_fields(row: Mapping[str, Any]) -> dict[str, float]:
    fields = {"loss": row["train_loss"], "accuracy": row["train_accuracy"]}
    if "confidence" in row:
        fields["alpha_confidence"] = row["confidence"]
    return fields
