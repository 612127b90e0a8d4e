"""Stage 2: trains the prompts of the lengths that a search found (or that were set by hand).

With ``train.final=mixture`` it trains the searched supernet itself, all lengths mixed by alpha.
"""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict, FrozenConfigDict

from dpl_jax import checkpoints
from dpl_jax.clip.config import ClipConfig
from dpl_jax.clip.model import Clip
from dpl_jax.config import with_absolute_paths
from dpl_jax.configuration import Lengths, read_lengths, save_lengths
from dpl_jax.data.own_split import save_lists
from dpl_jax.errors import CheckpointError, ConfigError
from dpl_jax.feed import chunk_steps
from dpl_jax.json_files import read_json
from dpl_jax.loop import join_steps, run_epochs
from dpl_jax.mesh import replicate
from dpl_jax.metrics_log import read_metrics
from dpl_jax.numerics import image_names
from dpl_jax.order import steps_per_epoch, train_order
from dpl_jax.prompts import Tree, inherit_rows, init_discrete
from dpl_jax.relaxation import finished_alphas
from dpl_jax.report import report_at_end
from dpl_jax.results import provenance, run_name, weights_sha256, write_results
from dpl_jax.run_folder import RunFolder, open_run, read_config
from dpl_jax.saved_config import search_of, with_search_of
from dpl_jax.steps import (
    Metrics,
    Params,
    State,
    create_mixture_state,
    create_train_state,
    train_epoch,
)
from dpl_jax.task import Inputs, load_inputs


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
    lengths = read_lengths(lengths_file, inputs.clip.config)
    supernet = load_supernet(lengths_file.parent) if needs_supernet(config) else None
    if supernet is not None:
        _check_same_clip(lengths_file.parent, inputs.clip)
    with open_run(
        workdir, "train", config, name=run_name(config), harmless=("search",), extends="train"
    ) as run:
        if run.writes:
            save_lists(run.path, inputs.full, inputs.sampled)
            save_lengths(run.configuration, lengths)
        train_epochs(run, config, inputs, lengths, supernet)
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


def needs_supernet(config: ConfigDict) -> bool:
    """Whether stage 2 goes on from what the search has trained."""
    return config.train.final == "mixture" or config.train.start == "supernet"


def load_supernet(search: Path) -> Params:
    """Prompts and alphas that a search ended with, the alphas as its last epoch saw them.

    Raises:
      ConfigError: when ``search`` is not the folder of a finished search.
    """
    try:
        params = jax.tree.map(jnp.asarray, checkpoints.load(search).tree["params"])
        alphas = finished_alphas(params["alphas"], read_config(search, "search").search)
    except (CheckpointError, KeyError) as error:
        raise ConfigError(
            f"train.final=mixture and train.start=supernet go on from a search, and {search} is "
            "not the folder of one. Give --search=RUN, the folder of a finished search."
        ) from error
    return params | {"alphas": alphas}


def _check_same_clip(search: Path, clip: Clip) -> None:
    """Raises ConfigError unless the search has learned its prompts for this very CLIP."""
    try:
        theirs, ours = read_json(search / "results.json")["clip"], weights_sha256(clip.folder)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ConfigError(
            f"{search} has no results.json that names its CLIP ({error}). Finish the search: its "
            f"command, started again with --workdir={search}, goes on."
        ) from error
    if theirs["sha256"] != ours:
        raise ConfigError(
            f"The supernet in {search} was searched with the CLIP {theirs['path']} (weights' "
            f"SHA-256 {theirs['sha256'][:16]}), and clip.path is {clip.source} ({ours[:16]}). "
            "train.final=mixture and train.start=supernet need the same weights."
        )


def start_prompts(
    train: FrozenConfigDict, clip: ClipConfig, lengths: Lengths, supernet: Params | None, seed: int
) -> Tree:
    """The prompts {"image": (N, K, D), ..} that stage 2 starts with, for one length a layer.

    Args:
      train: ``config.train``.
      clip: sizes of the CLIP.
      lengths: of every layer.
      supernet: of :func:`load_supernet`, with ``train.start=supernet``.
      seed: of the run.
    """
    if supernet is not None and train.start == "supernet":
        return inherit_rows(supernet["prompts"], lengths)
    return init_discrete(clip, lengths, seed, train.prompt_scale)


def train_epochs(
    run: RunFolder, config: ConfigDict, inputs: Inputs, lengths: Lengths, supernet: Params | None
) -> State:
    """All epochs of stage 2; returns the last state, trained prompts in it."""
    settings = FrozenConfigDict(config.train)
    clip, task, feed = inputs.clip, inputs.task.replace(val=None), inputs.train
    steps = steps_per_epoch(len(feed), settings.batch_size)

    def order_of(epoch: int) -> np.ndarray:
        return train_order(len(feed), settings.batch_size, config.seed, epoch)  # (steps, B)

    def run_steps(state: State, epoch: int, which: slice) -> tuple[State, Metrics]:
        order, parts = order_of(epoch)[which], []
        for images, indices in feed.chunks(order, chunk_steps(order, feed)):
            part = task.replace(train=images)
            state, metrics = train_epoch(
                state, clip, part, indices, train=settings, steps_per_epoch=steps
            )
            parts.append(metrics)
        return state, join_steps(parts)

    if supernet is not None and settings.final == "mixture":
        state = create_mixture_state(supernet, settings, steps, config.seed)
    else:
        prompts = start_prompts(settings, clip.config, lengths, supernet, config.seed)
        state = create_train_state(prompts, lengths, settings, steps, config.seed)
    return run_epochs(
        run,
        replicate(state, clip.mesh),
        run_steps,
        kind="train",
        epochs=settings.epochs,
        steps_per_epoch=steps,
        config=config,
        batch_names=lambda epoch, step, split: image_names(feed, order_of(epoch)[step]),
    )
