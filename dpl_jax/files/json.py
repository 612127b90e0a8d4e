"""Files of a run, JSON above all: strict, written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import jax
import numpy as np

from dpl_jax.errors import DamagedFileError, DplError, WriteError
from dpl_jax.files import limits
from dpl_jax.files.text import read_text

SURROGATE = re.compile("[\ud800-\udfff]")


def to_json(value: Any) -> Any:
    """Turns arrays, NumPy scalars, tuples, mappings and paths into plain JSON values.

    Raises:
      TypeError: for a value that JSON has no form for.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return np.asarray(value).tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON: {value!r}")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes ``value`` to ``path`` atomically: a reader sees the old file or the whole new one.

    Raises:
      WriteError: when the disk is full, or the folder cannot be written.
      ValueError: when a number in ``value`` is not finite, which strict JSON cannot hold.
    """
    try:
        text = json.dumps(to_json(value), indent=2, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise ValueError(f"{path} was not written: a number is not finite ({error}).") from error
    # Halves of characters, from file names that are no UTF-8, have no form in it either.
    text = SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", text)
    write_text(path, text + "\n")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes ``text`` to ``path`` atomically, as UTF-8."""
    with write_file(path) as file:
        file.write(text.encode("utf-8"))


@contextlib.contextmanager
def write_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Opens a temporary file that takes the place of ``path``, after an fsync, if all goes well.

    Raises:
      WriteError: when the disk is full, or the folder cannot be written.
    """
    path = Path(path)
    with explained_writes(path), _temporary(path) as file:
        yield file


@contextlib.contextmanager
def explained_writes(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns an OSError of writing ``path`` into one that says what to do.

    Raises:
      WriteError: naming the path and the reason.
    """
    try:
        yield
    except DplError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise WriteError(
            f"{path} could not be written ({reason}). What was saved before is whole: make room "
            "or make the folder writable, then start the same command again.",
            reason,
        ) from error


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[BinaryIO]:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    # The kernel applies the umask: to ask for it is to change it, for all threads, for a moment.
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):  # of a folder that has turned read-only
            temporary.unlink(missing_ok=True)
        raise


def read_json(path: str | os.PathLike[str]) -> Any:
    """Reads a JSON file.

    Raises:
      FileNotFoundError: when there is none.
      DamagedFileError: when it is too large, nested too deeply, or not strict JSON.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist.")
    try:
        return parse_json(read_text(path, limits.JSON_BYTES))
    except ValueError as error:
        raise DamagedFileError(f"{path} is not valid JSON ({error}).") from error


def parse_json(text: str | bytes) -> Any:
    """Parses strict JSON: finite numbers, no nesting that exhausts the stack, not endless lists.

    Raises:
      ValueError: when it is anything else.
    """
    check_count(text)
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    level = [value]
    for _ in range(limits.JSON_DEPTH):
        level = [child for parent in level for child in children(parent)]
    if level:
        raise ValueError("nested too deeply")
    return value


def check_count(text: str | bytes) -> None:
    """Raises ValueError for JSON of too many values, which take far more memory than the text."""
    if isinstance(text, str):
        marks = text.count(",") + text.count("[") + text.count("{")
    else:
        marks = text.count(b",") + text.count(b"[") + text.count(b"{")
    if marks > limits.JSON_VALUES:
        raise ValueError(f"it holds more than {limits.JSON_VALUES} values")


def sync_folder(folder: Path) -> None:
    """Puts the names in a folder on disk, where a file that was renamed there may not be yet."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # no folder can be synced there
            raise
    finally:
        os.close(handle)


def remove_leftovers(folder: Path) -> None:
    """Removes the temporary files of writes that a killed process did not end."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def children(value: Any) -> Iterable[Any]:
    """The values within a JSON value."""
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits:.40} is too large for a number")
    return value
