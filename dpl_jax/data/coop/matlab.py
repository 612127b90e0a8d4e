"""MATLAB files of annotations, which are compressed: how much is in them is found out first."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

from scipy.io import loadmat

from dpl_jax import limits
from dpl_jax.data.errors import DataError, DataNotFoundError
from dpl_jax.regular_files import read_bytes

# MAT-file level 5: a header, then elements of a type, a number of bytes, and so many bytes.
HEADER_SIZE, TAG_SIZE, COMPRESSED = 128, 8, 15


def read_row(path: Path, field: str) -> Any:
    """Returns one row vector of a MATLAB file.

    Raises:
        DataNotFoundError: there is no such file.
        DataError: it is damaged, or another file.
    """
    try:
        contents = read_bytes(path, limits.TEXT_BYTES)
        check_size(contents)
    except FileNotFoundError as error:
        raise DataNotFoundError(
            f"There is no {path}. Without CoOp's split file the dataset's own annotations are "
            "needed: see docs/datasets.md."
        ) from error
    except (OSError, ValueError, zlib.error) as error:
        raise DataError(f"{path} is not the MATLAB file it should be ({error}).") from error
    try:
        return loadmat(io.BytesIO(contents), variable_names=[field])[field][0]
    except Exception as error:  # the library has no error of its own, and no limit to its kinds
        raise DataError(
            f"{path} is not the MATLAB file it should be ({type(error).__name__}: {error!s:.200})."
        ) from error


def check_size(contents: bytes) -> None:
    """Counts the bytes of all elements after decompression.

    Raises:
        ValueError: for a file of another version, or too many bytes.
        zlib.error: for damaged compression.
    """
    if len(contents) < HEADER_SIZE or contents[126:128] != b"IM" or contents[124:126] != b"\0\1":
        raise ValueError("no MAT-file of level 5")
    place, total = HEADER_SIZE, 0
    while place + TAG_SIZE <= len(contents):
        kind, size = struct.unpack_from("<II", contents, place)
        place += TAG_SIZE
        element = contents[place : place + size]
        if kind == COMPRESSED:
            element = zlib.decompressobj().decompress(element, limits.MATLAB_BYTES + 1)
        total += len(element)
        if total > limits.MATLAB_BYTES:
            raise ValueError(f"more than {limits.MATLAB_BYTES >> 20} MiB when decompressed")
        place += size
