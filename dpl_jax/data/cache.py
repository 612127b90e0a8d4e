"""Decoded arrays on disk: keyed by their images, written atomically, ignored when damaged."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import uuid
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from dpl_jax.data.split import Item
from dpl_jax.errors import DataError
from dpl_jax.files.json import read_json
from dpl_jax.files.numpy import map_npy

Arrays: TypeAlias = dict[str, np.ndarray]
Shapes: TypeAlias = Mapping[str, tuple[tuple[int, ...], Any]]  # name -> (shape, dtype)
log = logging.getLogger(__name__)


def cache_key(items: Sequence[Item], transform: str) -> str:
    """Returns the SHA-256 of the transform and of every image's name, file size and time.

    Args:
        transform: what is done to the images, with every size and version that matters.
    """
    digest = hashlib.sha256(transform.encode())
    for item in items:
        digest.update(json.dumps([item.name, *_identity(item)]).encode() + b"\n")
    return digest.hexdigest()[:32]


def _identity(item: Item) -> list[Any]:
    """What changes when the image does."""
    if isinstance(item.image, np.ndarray):
        return [item.image.shape, hashlib.sha256(item.image.tobytes()).hexdigest()]
    if not isinstance(item.image, Path):
        return [repr(item.image)]
    with contextlib.suppress(OSError):  # a file that is not there is reported when it is read
        status = item.image.stat()
        return [str(item.image), status.st_size, status.st_mtime_ns]
    return [str(item.image)]


def cached(
    folder: Path | None,
    key: Callable[[], str],
    shapes: Shapes,
    fill: Callable[[Arrays], None],
) -> Arrays:
    """Returns the cached arrays, else fills new ones and caches them.

    Entries are folders of ``.npy`` files, filled under a temporary name and then renamed: of two
    runs that make the same entry, the first to finish keeps it. A damaged entry is replaced.

    Args:
        folder: of the cache; None for none, the arrays then live in memory.
        key: gives the entry's name.
        shapes: the arrays' shapes and dtypes.
        fill: writes all their values.

    Returns:
        The arrays, read-only maps of the files where there is a cache.

    Raises:
        DataError: the cache's folder cannot be written.
    """
    if folder is None:
        arrays = {name: np.empty(shape, dtype) for name, (shape, dtype) in shapes.items()}
        fill(arrays)
        return arrays
    entry = Path(folder).expanduser() / f"canvases-{key()}"
    found = read_entry(entry, shapes)
    if found is None:
        _write_entry(entry, shapes, fill)
        found = read_entry(entry, shapes)
    if found is None:
        raise DataError(f"The cache entry {entry} was damaged while in use; delete it.")
    return found


def read_entry(entry: Path, shapes: Shapes) -> Arrays | None:
    """Maps an entry's arrays; None where it is missing, or (with a warning) damaged."""
    if not entry.is_dir():
        return None
    try:
        sums = read_json(entry / "checksums.json")
        arrays = {name: map_npy(entry / f"{name}.npy") for name in shapes}
        for name, (shape, dtype) in shapes.items():
            if arrays[name].shape != shape or arrays[name].dtype != dtype:
                raise ValueError(f"{name} has another shape or type")
            if _checksum(arrays[name]) != sums[name]:
                raise ValueError(f"the checksum of {name} is wrong")
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("The cache entry %s is damaged (%s) and is made again.", entry, error)
        return None
    return arrays


def _write_entry(entry: Path, shapes: Shapes, fill: Callable[[Arrays], None]) -> None:
    temporary = entry.with_name(f".{entry.name}.{uuid.uuid4().hex}")
    try:
        temporary.mkdir(parents=True)
        arrays = {
            name: np.lib.format.open_memmap(temporary / f"{name}.npy", "w+", dtype, shape)
            for name, (shape, dtype) in shapes.items()
        }
        fill(dict(arrays))
        sums = {name: _checksum(array) for name, array in arrays.items()}
        for array in arrays.values():
            array.flush()
        (temporary / "checksums.json").write_text(json.dumps(sums), encoding="utf-8")
        _put_in_place(temporary, entry, shapes)
    except OSError as error:
        raise DataError(
            f"{entry.parent} cannot be written ({error}); set data.cache_dir."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put_in_place(temporary: Path, entry: Path, shapes: Shapes) -> None:
    """Renames a finished entry, unless another run was first; a damaged one is taken away."""
    if entry.exists():
        if read_entry(entry, shapes) is not None:
            return
        old = temporary.with_name(f"{temporary.name}.old")
        os.rename(entry, old)
        shutil.rmtree(old, ignore_errors=True)
    try:
        os.rename(temporary, entry)
    except OSError:
        if not entry.is_dir():  # else another run has just put the same entry there
            raise


def _checksum(array: np.ndarray) -> int:
    """CRC-32 of the array's bytes, in pieces so that a large map is not read into memory."""
    flat, total = array.reshape(-1).view(np.uint8), 0
    for start in range(0, flat.size, 1 << 24):
        total = zlib.crc32(flat[start : start + (1 << 24)].data, total)
    return total
