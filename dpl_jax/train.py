"""Stage 2: trains the prompts of the lengths that a search found (or that were set by hand)."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
from ml_collections import ConfigDict, FrozenConfigDict

from dpl_jax.clip.model import Clip
from dpl_jax.configuration import Lengths, prompt_tokens, read_lengths
from dpl_jax.data.split import save_lists
from dpl_jax.json_files import write_json
from dpl_jax.loop import run_epochs
from dpl_jax.metrics_log import read_metrics
from dpl_jax.order import steps_per_epoch, train_order
from dpl_jax.prompts import init_discrete
from dpl_jax.results import provenance, run_name
from dpl_jax.run_folder import RunFolder, open_run
from dpl_jax.steps import Metrics, State, create_train_state, train_epoch
from dpl_jax.task import Task, load_inputs


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
    clip, full, sampled, task = load_inputs(config, hold_out=False)
    lengths = read_lengths(lengths_file, clip.config)
    with open_run(workdir, "train", config, name=run_name(config)) as run:
        save_lists(run.path, full, sampled)
        write_json(run.configuration, {"lengths": lengths, "prompt_tokens": prompt_tokens(lengths)})
        train_epochs(run, config, clip, task, lengths)
        last = read_metrics(run)[-1]
        trained = {"kind": "train", "lengths": lengths, "trained": last}
        write_json(run.results, trained | provenance(config, clip, sampled))
    return run.path


def train_epochs(
    run: RunFolder, config: ConfigDict, clip: Clip, task: Task, lengths: Lengths
) -> State:
    """All epochs of stage 2; returns the last state, trained prompts in it."""
    settings = FrozenConfigDict(config.train)
    images = len(task.train)
    steps = steps_per_epoch(images, settings.batch_size)

    def run_epoch(state: State, epoch: int) -> tuple[State, Metrics]:
        order = train_order(images, settings.batch_size, config.seed, epoch)  # (steps, B)
        return train_epoch(state, clip, task, jnp.asarray(order), train=settings)

    prompts = init_discrete(clip.config, lengths, config.seed, settings.prompt_scale)
    state = create_train_state(prompts, lengths, settings, steps)
    return run_epochs(run, state, run_epoch, epochs=settings.epochs, config=config)
