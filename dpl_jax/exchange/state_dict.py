"""The prompts in the state dict of the released PyTorch code, as safetensors.

Names and shapes (trainers/trainersupernet.py and trainersubnet.py), ``..`` for ``prompt_learner``,
``txt`` in place of ``img`` for the text tower::

    ..ctx_img_lst.{layer}.{m - 1}    (m, D)   of its search: candidate m of every layer, m = 1..T
    ..ctx_img_lst.{layer}            (m, D)   of its second stage: the layer's length m, from 0

All other names (``image_encoder.*``, ``text_encoder.*``, ``logit_scale`` and
``prompt_learner.ZS_image.*``) are of the frozen CLIP and are passed over. The alphas of a search
are not in it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import save

from dpl_jax.clip.config import ClipConfig
from dpl_jax.errors import ConfigError
from dpl_jax.files.json import write_file
from dpl_jax.files.safetensors import open_tensors
from dpl_jax.prompts.trees import TOWERS, HostTree, candidate_sizes

PREFIXES = {"image": "prompt_learner.ctx_img_lst.", "text": "prompt_learner.ctx_txt_lst."}
DTYPES = ("F16", "F32", "F64")
# Prompt rows of a layer: far above any that there are.
MOST_ROWS = 1000
SHOWN = 5  # names in a message
Shape = tuple[int, ...]


class ReleasedPrompts(NamedTuple):
    """Prompts as this package keeps them.

    Attributes:
      prompts: {"image": (N, K, D), ..} of a second stage, zero beyond a layer's length; of a
        supernet {"image": (N, P, D), ..}.
      lengths: {"image": (N,), ..} of a second stage; None of a supernet.
    """

    prompts: HostTree
    lengths: HostTree | None


def read_prompts(path: Path, clip: ClipConfig) -> ReleasedPrompts:
    """Reads the prompts of a released search or second stage; float16 becomes float32 exactly.

    Raises:
      ConfigError: when the file is no safetensors, or its prompts do not fit the CLIP; the message
        names the tensors.
    """
    with _open(path) as file:
        shapes = _shapes(path, file)
        supernet = any(f"{PREFIXES[tower]}0.0" in shapes for tower in TOWERS)
        names = _supernet_names(shapes, clip) if supernet else _stage2_names(clip)
        _check(path, shapes, names, clip)
        rows = {tower: [_tensor(path, file, name) for name in names[tower]] for tower in TOWERS}
    if supernet:
        return ReleasedPrompts({tower: _joined(rows[tower], clip, tower) for tower in TOWERS}, None)
    lengths = {tower: np.array([len(own) for own in rows[tower]], np.int32) for tower in TOWERS}
    return ReleasedPrompts({tower: _padded(rows[tower]) for tower in TOWERS}, lengths)


def write_prompts(
    path: Path, prompts: Mapping[str, Any], lengths: Mapping[str, Any] | None
) -> None:
    """Writes prompts under the released names; the inverse of :func:`read_prompts`.

    Args:
      path: of the safetensors file.
      prompts: {"image": (N, K, D), "text": ..}, or of a supernet (N, P, D).
      lengths: {"image": (N,), "text": ..}; None for a supernet.
    """
    tensors = {}
    for tower in TOWERS:
        values = np.asarray(prompts[tower], np.float32)
        for layer, rows in enumerate(values):
            name = f"{PREFIXES[tower]}{layer}"
            if lengths is not None:
                tensors[name] = rows[: lengths[tower][layer]]  # (m, D)
            else:
                parts = _candidates(rows)
                tensors |= {f"{name}.{number}": part for number, part in enumerate(parts)}
    with write_file(path) as file:
        file.write(save({name: np.ascontiguousarray(part) for name, part in tensors.items()}))


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise ConfigError(f"{path} does not exist.")
    try:
        with open_tensors(path) as file:
            yield file
    except ConfigError:
        raise
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} is no safetensors file ({error}). A checkpoint of PyTorch is a pickle, which "
            "can run code: convert it where it was made, with the lines in docs/export.md."
        ) from error


def _shapes(path: Path, file: Any) -> dict[str, Shape]:
    """Shapes of the prompt tensors by name, from the header alone.

    Raises:
      ConfigError: when there are none, or one does not hold floats.
    """
    shapes = {}
    names = list(file.keys())
    for name in names:
        if name.startswith(tuple(PREFIXES.values())):
            part = file.get_slice(name)
            if part.get_dtype() not in DTYPES:
                raise ConfigError(f"{path}: {name} holds {part.get_dtype()}, not floats.")
            shapes[name] = tuple(part.get_shape())
    if not shapes:
        raise ConfigError(
            f"{path} holds no prompts of the released trainers, such as {PREFIXES['image']}0; "
            f"what it holds: {_list(names)}."
        )
    return shapes


def _stage2_names(clip: ClipConfig) -> dict[str, list[str]]:
    return {
        tower: [f"{PREFIXES[tower]}{layer}" for layer in range(clip.layers[tower])]
        for tower in TOWERS
    }


def _supernet_names(shapes: Mapping[str, Shape], clip: ClipConfig) -> dict[str, list[str]]:
    """Names of all candidates, layer by layer; their number is that of the first layer."""
    names = {}
    for tower in TOWERS:
        stored = sum(name.startswith(f"{PREFIXES[tower]}0.") for name in shapes)
        candidates = min(max(stored, 1), MOST_ROWS)
        names[tower] = [
            f"{PREFIXES[tower]}{layer}.{number}"
            for layer in range(clip.layers[tower])
            for number in range(candidates)
        ]
    return names


def _check(
    path: Path, shapes: Mapping[str, Shape], names: Mapping[str, list[str]], clip: ClipConfig
) -> None:
    """Raises ConfigError unless the file has all names and no others, and their shapes fit."""
    expected = {name for tower in TOWERS for name in names[tower]}
    problems = []
    if missing := sorted(expected - shapes.keys()):
        problems.append(f"missing: {_list(missing)}")
    if unknown := sorted(shapes.keys() - expected):
        problems.append(f"unknown: {_list(unknown)}")
    for tower in TOWERS:
        for name in names[tower]:
            if name in shapes and not _fits(name, shapes[name], clip.widths[tower]):
                problems.append(f"of a wrong shape: {name} {shapes[name]}")
    if problems:
        layers, widths = clip.layers, clip.widths
        raise ConfigError(
            f"{path}: the prompts do not fit the CLIP, which has {layers['image']} image layers of "
            f"width {widths['image']} and {layers['text']} text layers of width {widths['text']}; "
            "is --config.clip.path that which they were trained with?\n  "
            + "\n  ".join(problems[:SHOWN])
        )


def _fits(name: str, shape: Shape, width: int) -> bool:
    """Whether a tensor has the rows that its name says, and the tower's width."""
    if len(shape) != 2 or shape[1] != width:
        return False
    candidate = name.split(".")[3:]
    return shape[0] == int(candidate[0]) + 1 if candidate else shape[0] <= MOST_ROWS


def _tensor(path: Path, file: Any, name: str) -> np.ndarray:
    """A tensor (m, D) as float32."""
    tensor = np.array(file.get_tensor(name), np.float32)
    if not np.isfinite(tensor).all():
        raise ConfigError(f"{path}: {name} holds numbers that are not finite.")
    return tensor


def _joined(rows: list[np.ndarray], clip: ClipConfig, tower: str) -> np.ndarray:
    """Candidates (m, D), layer by layer, as (N, P, D)."""
    joined = np.concatenate(rows)  # (N * P, D)
    return joined.reshape(clip.layers[tower], -1, clip.widths[tower])  # (N, P, D)


def _padded(rows: list[np.ndarray]) -> np.ndarray:
    """Rows (m, D) of each layer as (N, K, D), zero beyond a layer's length."""
    padded = np.zeros((len(rows), max(map(len, rows)), rows[0].shape[1]), np.float32)  # (N, K, D)
    for layer, own in enumerate(rows):
        padded[layer, : len(own)] = own
    return padded


def _candidates(rows: np.ndarray) -> list[np.ndarray]:
    """Rows (P, D) of a supernet's layer as its T candidates (m, D)."""
    longest = round((2 * len(rows)) ** 0.5 - 0.5)  # P = T (T + 1) / 2
    return np.split(rows, np.cumsum(candidate_sizes(longest))[:-1])


def _list(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more if names else "nothing"
