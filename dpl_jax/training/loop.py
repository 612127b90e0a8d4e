"""The loop that both stages share: epochs, numbers checked, metrics, checkpoints, resuming."""

from __future__ import annotations

import contextlib
import functools
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from dpl_jax.errors import Interrupted
from dpl_jax.runs.checkpoints import Checkpoints
from dpl_jax.runs.folder import RunFolder
from dpl_jax.runs.metrics import (
    append_metrics,
    json_row,
    tensorboard_events,
    truncate_metrics,
    wandb_rows,
)
from dpl_jax.runtime.processes import any_of
from dpl_jax.runtime.progress import progress
from dpl_jax.runtime.signals import EXIT_CODES, stop_signals
from dpl_jax.training.finite import check_finite
from dpl_jax.training.progress_in_epochs import START, EpochProgress, chunks, epoch_means
from dpl_jax.training.stage import Stage
from dpl_jax.training.steps import State

TellRow = Callable[[Mapping[str, Any]], None]


def run_epochs(run: RunFolder, config: ConfigDict, stage: Stage) -> State:
    """Runs the epochs of a stage that are left and returns the last state.

    An epoch is run in one go, or in chunks of ``config.checkpoint.every_steps`` steps. SIGTERM and
    SIGINT stop the run at the end of the chunk that is running, see :mod:`dpl_jax.runtime.signals`.

    Args:
      run: the folder; its newest good checkpoint is where the run goes on.
      config: the whole config.
      stage: what is run.

    Raises:
      NumericsError: when a loss or parameter is not finite; the last good checkpoint stays.
      CheckpointError: when a checkpoint does not fit or cannot be written.
      Interrupted: after a signal and a checkpoint.
    """
    epochs, steps_per_epoch = stage.epochs, stage.steps_per_epoch
    check = functools.partial(
        check_finite,
        steps_per_epoch=steps_per_epoch,
        batch_names=stage.batch_names,
        members=stage.members,
        folder=run.checkpoints,
    )
    with (
        stop_signals() as stop,
        Checkpoints(run.checkpoints, keep=config.checkpoint.keep) as checkpoints,
    ):
        state, done, row = _resume(run, checkpoints, stage.start(), steps_per_epoch)
        with _rows(run, config, stage, state, done) as tell_row:
            every_steps = config.checkpoint.every_steps
            for epoch, steps in chunks(done, epochs, steps_per_epoch, every_steps):
                state, metrics = stage.run_steps(state, epoch, steps)
                metrics = jax.device_get(metrics)
                check(metrics, epoch, steps.start)
                done = done.after(metrics)
                if done.step == steps_per_epoch:
                    row = {"step": int(state.step), "epoch": epoch + 1} | epoch_means(done)
                    row = json_row(row | stage.describe(state))
                    tell_row(row)
                    done = done.after_epoch()
                asked = any_of(stop.signal or 0)  # processes stop together
                if asked or _is_due(done, epochs, config.checkpoint):
                    metadata = done.to_metadata() | {"order_seed": config.seed, "row": row}
                    checkpoints.save(int(state.step), state, metadata)
                if asked:
                    checkpoints.wait()
                    by = signal.Signals(asked)
                    raise _interrupted(run, by, int(state.step), done, epochs)
    return state


def _resume(
    run: RunFolder, checkpoints: Checkpoints, state: State, steps_per_epoch: int
) -> tuple[State, EpochProgress, dict[str, Any] | None]:
    """The newest good checkpoint, what it has done and its last epoch's row; or the start."""
    restored = checkpoints.restore_latest(state)
    if restored is None:
        if run.writes:
            truncate_metrics(run, ())
        return state, START, None
    done, row = EpochProgress.from_metadata(restored.metadata), restored.metadata.get("row")
    ends = [epoch * steps_per_epoch for epoch in range(1, done.epoch + 1)]
    if run.writes:
        truncate_metrics(run, ends, row)
    return restored.tree, done, row


@contextlib.contextmanager
def _rows(
    run: RunFolder, config: ConfigDict, stage: Stage, state: State, done: EpochProgress
) -> Iterator[TellRow]:
    """Yields a function that writes the row of an epoch to all places and shows its progress."""
    if not run.writes:
        yield lambda row: None
        return
    with (
        progress(stage.epochs, stage.name, config.progress, start=done.epoch) as bar,
        tensorboard_events(run, config.tensorboard, int(state.step)) as write_events,
        wandb_rows(run, config, stage.name) as log_row,
    ):

        def tell(row: Mapping[str, Any]) -> None:
            append_metrics(run, [row])
            write_events(row)
            log_row(row)
            bar.update(row["epoch"], **_shown_fields(row))

        yield tell


def _is_due(done: EpochProgress, epochs: int, settings: ConfigDict) -> bool:
    """Whether a checkpoint belongs here; with ``every_steps`` each chunk of steps ends with one."""
    ended = done.step == 0 and (done.epoch % settings.every_epochs == 0 or done.epoch == epochs)
    return bool(settings.every_steps > 0 or ended)


def _interrupted(
    run: RunFolder, by: signal.Signals, step: int, done: EpochProgress, epochs: int
) -> Interrupted:
    return Interrupted(
        f"Stopped by {by.name} after step {step}, with {done.epoch} of {epochs} epochs done; "
        f"the checkpoint is in {run.checkpoints}.",
        workdir=run.root,
        exit_code=EXIT_CODES[by],
    )


def _shown_fields(row: Mapping[str, Any]) -> dict[str, float]:
    fields = {"loss": row["train_loss"], "accuracy": row["train_accuracy"]}
    if "confidence" in row:
        fields["alpha_confidence"] = row["confidence"]
    return fields
