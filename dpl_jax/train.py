"""Stage 2: trains the prompts of the lengths that a search found (or that were set by hand).

With ``train.final=mixture`` it trains the searched supernet itself, all lengths mixed by alpha.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict, FrozenConfigDict

from dpl_jax.config import with_absolute_paths
from dpl_jax.data.order import steps_per_epoch, train_order
from dpl_jax.data.own_split import save_lists
from dpl_jax.prompts.lengths_file import Lengths, read_lengths, save_lengths
from dpl_jax.report import report_at_end
from dpl_jax.runs.folder import open_run
from dpl_jax.runs.metrics import read_metrics
from dpl_jax.runs.results import provenance, run_name, write_results
from dpl_jax.runs.saved_config import search_of, with_search_of
from dpl_jax.runtime.mesh import replicate
from dpl_jax.training.finite import image_names
from dpl_jax.training.inputs import Inputs, load_inputs
from dpl_jax.training.loop import run_epochs
from dpl_jax.training.optimizers import train_optimizer
from dpl_jax.training.stage import Stage, run_chunks
from dpl_jax.training.start import check_same_clip, load_supernet, needs_supernet, start_prompts
from dpl_jax.training.steps import Metrics, Params, State, create_state, train_epoch


def train(config: ConfigDict, lengths_file: Path, workdir: str | Path | None = None) -> Path:
    """Trains prompts, or resumes the training in ``workdir``.

    Args:
      config: see :mod:`dpl_jax.config`; its ``search`` counts for nothing where the lengths are a
        search's, whose own settings are recorded.
      lengths_file: a search's configuration.json, or lengths written by hand. What starts from a
        supernet (``train.final``, ``train.start``) needs the former, in its search's folder.
      workdir: the run's folder; None makes a named one under ``runs/``.

    Returns:
      The run's folder: results.json, metrics.jsonl, report.html, checkpoints.

    Raises:
      DplError: for anything that the user can put right; the message says how.
    """
    searched = search_of(lengths_file)
    config = with_absolute_paths(config)
    config = config if searched is None else with_search_of(config, searched)
    inputs = load_inputs(config, hold_out=False, runs=[workdir, lengths_file.parent])
    lengths = read_lengths(lengths_file, inputs.clip.sizes)
    supernet = load_supernet(lengths_file.parent) if needs_supernet(config) else None
    if supernet is not None:
        check_same_clip(lengths_file.parent, inputs.clip)
    with open_run(
        workdir, "train", config, name=run_name(config), harmless=("search",), extends="train"
    ) as run:
        if run.writes:
            save_lists(run.path, inputs.full, inputs.sampled)
            save_lengths(run.configuration, lengths)
        run_epochs(run, config, train_stage(config, inputs, lengths, supernet))
        if not run.writes:
            return run.path
        last = read_metrics(run)[-1]
        trained = {
            "kind": "train",
            "lengths": lengths,
            "lengths_file": lengths_file.absolute(),
            "search": None if searched is None else searched.absolute(),
            "trained": last,
        }
        write_results(run.results, trained | provenance(config, inputs.clip, inputs.sampled))
        report_at_end(run.path, config)
    return run.path


def train_stage(
    config: ConfigDict, inputs: Inputs, lengths: Lengths, supernet: Params | None
) -> Stage:
    """Stage 2 of one run; its last state has the trained prompts."""
    settings, clip, feed = FrozenConfigDict(config.train), inputs.clip, inputs.train
    steps = steps_per_epoch(len(feed), settings.batch_size)
    program = functools.partial(train_epoch, train=settings, steps_per_epoch=steps)

    def order_of(epoch: int) -> np.ndarray:
        return train_order(len(feed), settings.batch_size, config.seed, epoch)  # (steps, B)

    def start() -> State:
        if supernet is not None and settings.final == "mixture":
            state = create_state(
                supernet, train_optimizer(settings, steps, alphas=True), config.seed
            )
        else:
            prompts = start_prompts(settings, clip.sizes, lengths, supernet, config.seed)
            state = create_state(
                {"prompts": prompts}, train_optimizer(settings, steps), config.seed, lengths
            )
        return replicate(state, clip.mesh)

    def run_steps(state: State, epoch: int, which: slice) -> tuple[State, Metrics]:
        return run_chunks(program, state, clip, inputs.chunks(order_of(epoch)[which]))

    def batch_names(epoch: int, step: int, split: str) -> list[str]:
        return image_names(feed, order_of(epoch)[step])

    return Stage("train", settings.epochs, steps, start, run_steps, batch_names=batch_names)
