"""What stage 2 starts with: fresh prompts, or what the search has trained."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict, FrozenConfigDict

from dpl_jax.clip.config import ClipConfig
from dpl_jax.clip.model import Clip
from dpl_jax.clip.weights import weights_sha256
from dpl_jax.errors import CheckpointError, ConfigError
from dpl_jax.files.json import read_json
from dpl_jax.prompts.alphas import finished_alphas
from dpl_jax.prompts.lengths_file import Lengths
from dpl_jax.prompts.trees import Tree, inherit_rows, init_discrete
from dpl_jax.runs import checkpoints
from dpl_jax.runs.folder import read_config
from dpl_jax.training.steps import Params


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


def check_same_clip(search: Path, clip: Clip) -> None:
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
    """The prompts {"image": (N, K, D), ..} that stage 2 starts with, for one length per layer.

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
