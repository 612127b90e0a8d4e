"""The alphas that the released PyTorch code saves after every epoch of its search.

``OUT/alpha_e{epoch}_img.npy`` and ``OUT/alpha_e{epoch}_txt.npy``, each (N, T + 1); epoch 0 is the
start. In that release the two names are swapped: the file called ``img`` holds the alphas of the
text tower (``save_alpha`` in its trainers/trainersupernet.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dpl_jax.errors import ConfigError
from dpl_jax.files.json import write_file
from dpl_jax.files.numpy import map_npy
from dpl_jax.prompts.trees import TOWERS, HostTree

NAME = re.compile(r"alpha_e(\d{1,9})_img\.npy")
# Layers, or lengths of a layer: far above any that there are.
LARGEST = 1000


def alpha_files(folder: Path, epoch: int, swapped: bool = True) -> dict[str, Path]:
    """The file of each tower's alphas.

    Args:
      folder: the released trainer's output folder.
      epoch: after which they were saved.
      swapped: whether the names are those of the release, img for text and txt for image.
    """
    image, text = ("txt", "img") if swapped else ("img", "txt")
    return {
        tower: folder / f"alpha_e{epoch}_{name}.npy"
        for tower, name in (("image", image), ("text", text))
    }


def last_epoch(folder: Path) -> int:
    """The last epoch that ``folder`` has alphas of.

    Raises:
      ConfigError: when it has none.
    """
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    epochs = [int(match[1]) for name in names if (match := NAME.fullmatch(name))]
    if not epochs:
        raise ConfigError(
            f"{folder} holds no alpha_e60_img.npy, of whatever epoch. Give --alphas the output "
            "folder of a search by the released code."
        )
    return max(epochs)


def read_alphas(folder: Path, epoch: int, swapped: bool = True) -> HostTree:
    """Reads {"image": (N, T + 1), "text": (N, T + 1)} float32; float16 becomes that exactly.

    Args:
      folder: the released trainer's output folder.
      epoch: whose alphas are wanted.
      swapped: see :func:`alpha_files`.

    Raises:
      ConfigError: naming the file that is missing, damaged or no alphas.
    """
    files = alpha_files(folder, epoch, swapped)
    return {tower: _read(files[tower]) for tower in TOWERS}


def write_alphas(
    folder: Path, alphas: Mapping[str, Any], epoch: int, swapped: bool = True
) -> dict[str, Path]:
    """Writes alphas (N, T + 1) as the released code does; the inverse of :func:`read_alphas`."""
    files = alpha_files(folder, epoch, swapped)
    for tower in TOWERS:
        with write_file(files[tower]) as file:
            np.save(file, np.ascontiguousarray(alphas[tower], np.float32), allow_pickle=False)
    return files


def _read(path: Path) -> np.ndarray:
    if not path.is_file():
        raise ConfigError(f"{path} does not exist; the alphas of an epoch are two files.")
    try:
        stored = map_npy(path)
    except ValueError as error:
        raise ConfigError(f"{path.parent}: {error}.") from error
    shape = stored.shape
    if stored.dtype.kind != "f" or len(shape) != 2 or not 2 <= shape[1] <= LARGEST:
        raise ConfigError(
            f"{path} holds {stored.dtype} {shape}; alphas are floats (layers, T + 1)."
        )
    if not 1 <= shape[0] <= LARGEST:
        raise ConfigError(f"{path} holds {shape[0]} layers; there are 1 to {LARGEST}.")
    alpha = np.array(stored, np.float32, order="C")  # (N, T + 1)
    if not np.isfinite(alpha).all():
        raise ConfigError(f"{path} holds numbers that are not finite.")
    return alpha
