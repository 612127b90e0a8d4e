"""The prompt configuration that a search finds: ``RUN/configuration.json``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dpl_jax.clip.config import ClipConfig
from dpl_jax.errors import ConfigError, RunFolderError
from dpl_jax.files.json import read_json, to_json, write_json
from dpl_jax.prompts.trees import TOWERS, check_lengths, choose_lengths

Lengths = dict[str, np.ndarray]


def save_configuration(path: Path, lengths: Lengths, alphas: Mapping[str, Any]) -> None:
    """Writes the chosen lengths, and how sure of them alpha is.

    The file: ``{"lengths": {"image": [..], "text": [..]}, "confidence": {..}, "weights": {..},
    "prompt_tokens": n}``; a layer's confidence is the softmax weight of its length.
    """
    contents = {
        "lengths": lengths,
        "confidence": confidences(lengths, alphas),
        "weights": choose_lengths(alphas)[2],
        "prompt_tokens": prompt_tokens(lengths),
    }
    write_json(path, contents)


def confidences(lengths: Lengths, alphas: Mapping[str, Any]) -> Lengths:
    """The softmax weights (N,) of the chosen lengths, however they were chosen."""
    weights = choose_lengths(alphas)[2]  # (N, T + 1)
    return {
        tower: np.take_along_axis(weights[tower], lengths[tower][:, None], axis=1)[:, 0]
        for tower in TOWERS
    }


def read_lengths(path: Path, clip: ClipConfig) -> Lengths:
    """Reads lengths from a search's configuration.json or from a file written by hand.

    By hand, ``{"image": [2, 0, ..], "text": [1, 4, ..]}`` is enough: one number per layer.

    Raises:
      ConfigError: when there is no such file, or its lengths do not fit the CLIP.
    """
    try:
        contents = read_json(path)
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path} does not exist. Give --search the folder of a finished search, or --lengths "
            'a JSON file such as {"image": [2, 0, ..], "text": [1, 4, ..]}.'
        ) from error
    except ValueError as error:
        raise ConfigError(str(error)) from error
    lengths = contents.get("lengths", contents) if isinstance(contents, dict) else {}
    if not isinstance(lengths, dict):
        lengths = {}
    check_lengths(lengths, clip, str(path))
    return {tower: np.asarray(lengths[tower], np.int32) for tower in TOWERS}


def save_lengths(path: Path, lengths: Lengths) -> None:
    """Writes down the lengths that a training uses; a resumed one must use the same.

    Raises:
      ConfigError: when the folder holds a training of other lengths.
      RunFolderError: when the file that says so is damaged.
    """
    contents = {"lengths": lengths, "prompt_tokens": prompt_tokens(lengths)}
    try:
        before = read_json(path) if path.is_file() else to_json(contents)
    except ValueError as error:
        raise RunFolderError(
            f"{error} It held the prompt lengths of this training: if they are those that you "
            "give now, remove the file and start the same command again."
        ) from error
    if before != to_json(contents):
        raise ConfigError(
            f"{path.parent} holds a training of other prompt lengths ({path.name}). Resume with "
            "the same lengths, or choose another folder with --workdir."
        )
    write_json(path, contents)


def prompt_tokens(lengths: Mapping[str, Any]) -> int:
    """Prompt rows of both towers together."""
    return int(sum(np.sum(lengths[tower]) for tower in TOWERS))
