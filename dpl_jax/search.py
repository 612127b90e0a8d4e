"""Stage 1: searches the number of prompt rows of every layer, and writes it down."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict, FrozenConfigDict

from dpl_jax.config import with_absolute_paths
from dpl_jax.data.order import steps_per_epoch, train_order, validation_order
from dpl_jax.data.own_split import save_lists
from dpl_jax.prompts.alphas import anneal, finished_alphas
from dpl_jax.prompts.lengths_file import save_configuration
from dpl_jax.prompts.trees import TOWERS, HostTree, choose_lengths, init_supernet
from dpl_jax.report import report_at_end
from dpl_jax.runs.folder import open_run
from dpl_jax.runs.metrics import read_metrics
from dpl_jax.runs.results import provenance, run_name, write_results
from dpl_jax.runtime.mesh import replicate
from dpl_jax.training.finite import image_names
from dpl_jax.training.inputs import Inputs, load_inputs
from dpl_jax.training.loop import run_epochs
from dpl_jax.training.optimizers import search_optimizer
from dpl_jax.training.selection import select_lengths
from dpl_jax.training.stage import Stage, run_chunks
from dpl_jax.training.steps import Metrics, State, create_state, search_epoch


def search(config: ConfigDict, workdir: str | Path | None = None) -> Path:
    """Runs a search, or resumes the one in ``workdir``.

    Args:
      config: see :mod:`dpl_jax.config`.
      workdir: the run's folder; None makes a named one under ``runs/``.

    Returns:
      The run's folder: configuration.json, results.json, metrics.jsonl, report.html, checkpoints.

    Raises:
      DplError: for anything that the user can put right; the message says how.
    """
    config = with_absolute_paths(config)
    inputs = load_inputs(config, hold_out=True, runs=[workdir])
    with open_run(
        workdir, "search", config, name=run_name(config), harmless=("train",), extends="search"
    ) as run:
        if run.writes:
            save_lists(run.path, inputs.full, inputs.sampled)
        state = run_epochs(run, config, search_stage(config, inputs))
        lengths = chosen_lengths(config, inputs, state)
        if not run.writes:
            return run.path
        alphas = finished_alphas(state.params["alphas"], config.search)
        save_configuration(run.configuration, lengths, alphas)
        last = read_metrics(run)[-1]
        found = {"kind": "search", "lengths": lengths, "supernet": last}
        write_results(run.results, found | provenance(config, inputs.clip, inputs.sampled))
        report_at_end(run.path, config)
    return run.path


def search_stage(config: ConfigDict, inputs: Inputs) -> Stage:
    """The search of one run; its last state has the supernet's prompts and alphas."""
    settings, clip, seed = FrozenConfigDict(config.search), inputs.clip, config.seed
    train, val = inputs.train, inputs.need_validation()
    steps = steps_per_epoch(len(train), settings.batch_size)
    program = functools.partial(search_epoch, search=settings, steps_per_epoch=steps)

    def orders(epoch: int) -> tuple[np.ndarray, np.ndarray]:
        order = train_order(len(train), settings.batch_size, seed, epoch)
        val_order = validation_order(len(val), settings.val_batch_size, steps, seed, epoch)
        return order, val_order  # (steps, B) each

    def start() -> State:
        scale = settings.prompt_scale
        prompts, alphas = init_supernet(clip.sizes, settings.max_context_length, seed, scale)
        params = {"prompts": prompts, "alphas": alphas}
        return replicate(create_state(params, search_optimizer(settings, steps), seed), clip.mesh)

    def run_steps(state: State, epoch: int, which: slice) -> tuple[State, Metrics]:
        order, val_order = orders(epoch)
        return run_chunks(program, state, clip, inputs.chunks(order[which], val_order[which]))

    def batch_names(epoch: int, step: int, split: str) -> list[str]:
        order, val_order = orders(epoch)
        if split == "val":
            return image_names(val, val_order[step])
        return image_names(train, order[step])

    def describe(state: State) -> dict[str, Any]:
        epoch = int(state.step) // steps - 1
        return describe_alphas(anneal(state.params["alphas"], settings, epoch))

    return Stage("search", settings.epochs, steps, start, run_steps, describe, batch_names)


def chosen_lengths(config: ConfigDict, inputs: Inputs, state: State) -> HostTree:
    """The lengths that the searched supernet comes to."""
    val = inputs.need_validation()
    rows = np.arange(len(val), dtype=np.int32)
    return select_lengths(config, inputs.clip, inputs.task, val, rows, state.params)


def describe_alphas(alphas: Mapping[str, jax.Array]) -> dict[str, Any]:
    """The likeliest lengths, their mean confidence and all softmax weights, for metrics.jsonl."""
    lengths, confidences, weights = choose_lengths(alphas)
    mean = float(np.mean(np.concatenate([confidences[tower] for tower in TOWERS])))
    return {"confidence": mean, "lengths": lengths, "weights": weights}
