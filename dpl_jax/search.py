"""Stage 1: searches the number of prompt rows of every layer, and writes it down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict, FrozenConfigDict

from dpl_jax.clip.model import Clip
from dpl_jax.configuration import save_configuration
from dpl_jax.data.split import save_lists
from dpl_jax.json_files import write_json
from dpl_jax.loop import run_epochs
from dpl_jax.metrics_log import read_metrics
from dpl_jax.order import steps_per_epoch, train_order, validation_order
from dpl_jax.prompts import TOWERS, choose_lengths, init_supernet
from dpl_jax.results import provenance, run_name
from dpl_jax.run_folder import RunFolder, open_run
from dpl_jax.steps import Metrics, State, create_search_state, search_epoch
from dpl_jax.task import Task, load_inputs


def search(config: ConfigDict, workdir: str | Path | None = None) -> Path:
    """Runs a search, or resumes the one in ``workdir``.

    Args:
      config: see :mod:`dpl_jax.config`.
      workdir: the run's folder; None makes a named one under ``runs/``.

    Returns:
      The run's folder, with configuration.json, results.json, metrics.jsonl and checkpoints.

    Raises:
      DplError: for anything that the user can put right; the message says how.
    """
    clip, full, sampled, task = load_inputs(config, hold_out=True)
    with open_run(workdir, "search", config, name=run_name(config)) as run:
        save_lists(run.path, full, sampled)
        state = search_epochs(run, config, clip, task)
        lengths = save_configuration(run.configuration, state.params["alphas"])
        last = read_metrics(run)[-1]
        found = {"kind": "search", "lengths": lengths, "supernet": last}
        write_json(run.results, found | provenance(config, clip, sampled))
    return run.path


def search_epochs(run: RunFolder, config: ConfigDict, clip: Clip, task: Task) -> State:
    """All epochs of a search; returns the last state, supernet prompts and alphas in it."""
    settings = FrozenConfigDict(config.search)
    images, val_images = len(task.train), len(task.val or ())
    steps = steps_per_epoch(images, settings.batch_size)

    def run_epoch(state: State, epoch: int) -> tuple[State, Metrics]:
        train = train_order(images, settings.batch_size, config.seed, epoch)
        val = validation_order(val_images, settings.val_batch_size, steps, config.seed, epoch)
        order = jnp.asarray(train), jnp.asarray(val)  # (steps, B) each
        return search_epoch(state, clip, task, *order, search=settings)

    prompts, alphas = init_supernet(
        clip.config, settings.max_context_length, config.seed, settings.prompt_scale
    )
    state = create_search_state({"prompts": prompts, "alphas": alphas}, settings, steps)
    return run_epochs(
        run, state, run_epoch, epochs=settings.epochs, config=config, describe=describe_alphas
    )


def describe_alphas(state: State) -> dict[str, Any]:
    """The chosen lengths, their mean confidence and all softmax weights, for metrics.jsonl."""
    lengths, confidences, weights = choose_lengths(state.params["alphas"])
    mean = float(np.mean(np.concatenate([confidences[tower] for tower in TOWERS])))
    return {"confidence": mean, "lengths": lengths, "weights": weights}
