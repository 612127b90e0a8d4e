"""Stage 2: trains the prompts of the lengths that a search found (or that were set by hand)."""

from __future__ import annotations

from pathlib import Path

from ml_collections import ConfigDict, FrozenConfigDict

from dpl_jax.configuration import Lengths, read_lengths, save_lengths
from dpl_jax.data.split import save_lists
from dpl_jax.feed import chunk_steps
from dpl_jax.json_files import write_json
from dpl_jax.loop import join_steps, run_epochs
from dpl_jax.metrics_log import read_metrics
from dpl_jax.order import steps_per_epoch, train_order
from dpl_jax.prompts import init_discrete
from dpl_jax.results import provenance, run_name
from dpl_jax.run_folder import RunFolder, open_run
from dpl_jax.steps import Metrics, State, create_train_state, train_epoch
from dpl_jax.task import Inputs, load_inputs


def train(config: ConfigDict, lengths_file: Path, workdir: str | Path | None = None) -> Path:
    """Trains prompts, or resumes the training in ``workdir``.

    Args:
      config: see :mod:`dpl_jax.config`.
      lengths_file: a search's configuration.json, or lengths written by hand.
      workdir: the run's folder; None makes a named one under ``runs/``.

    Returns:
      The run's folder, with results.json, metrics.jsonl and checkpoints.

    Raises:
      DplError: for anything that the user can put right; the message says how.
    """
    inputs = load_inputs(config, hold_out=False)
    lengths = read_lengths(lengths_file, inputs.clip.config)
    with open_run(workdir, "train", config, name=run_name(config), harmless=("search",)) as run:
        save_lists(run.path, inputs.full, inputs.sampled)
        save_lengths(run.configuration, lengths)
        train_epochs(run, config, inputs, lengths)
        last = read_metrics(run)[-1]
        trained = {"kind": "train", "lengths": lengths, "trained": last}
        write_json(run.results, trained | provenance(config, inputs.clip, inputs.sampled))
    return run.path


def train_epochs(run: RunFolder, config: ConfigDict, inputs: Inputs, lengths: Lengths) -> State:
    """All epochs of stage 2; returns the last state, trained prompts in it."""
    settings = FrozenConfigDict(config.train)
    clip, task, feed = inputs.clip, inputs.task.replace(val=None), inputs.train
    steps = steps_per_epoch(len(feed), settings.batch_size)

    def run_epoch(state: State, epoch: int) -> tuple[State, Metrics]:
        order = train_order(len(feed), settings.batch_size, config.seed, epoch)  # (steps, B)
        parts = []
        for images, indices in feed.chunks(order, chunk_steps(order, feed)):
            part = task.replace(train=images)
            state, metrics = train_epoch(
                state, clip, part, indices, train=settings, steps_per_epoch=steps
            )
            parts.append(metrics)
        return state, join_steps(parts)

    prompts = init_discrete(clip.config, lengths, config.seed, settings.prompt_scale)
    state = create_train_state(prompts, lengths, settings, steps, config.seed)
    return run_epochs(run, state, run_epoch, epochs=settings.epochs, config=config)
