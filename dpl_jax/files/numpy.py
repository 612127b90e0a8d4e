"""Reading NumPy's files: plain numbers and text, of the size that is really there."""

from __future__ import annotations

import io
import math
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dpl_jax.files import limits
from dpl_jax.files.regular import open_regular

# The end of an archive without a comment, which NumPy writes none of; its directory has about 60
# bytes an array. The other mark is that of archives with more than 65535 entries.
END, END_SIZE, LARGE_END, LARGE_END_SIZE = b"PK\5\6", 22, b"PK\6\7", 20
DIRECTORY_BYTES = 1 << 20


def map_npy(path: Path) -> np.ndarray:
    """The array of a ``.npy`` file as a read-only map, which is no longer than the file.

    Raises:
      ValueError: when it is no such file, or holds objects, whose reading can run code.
    """
    try:
        with open_regular(path) as file:
            _check_header(file, os.fstat(file.fileno()).st_size)
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, OverflowError, TypeError) as error:
        raise ValueError(f"{path.name} is no NumPy file of plain numbers ({error})") from error
    return np.asarray(mapped)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an uncompressed ``.npz`` file, as ``np.savez`` writes it.

    Compressed ones are refused: some bytes of them can be terabytes of zeros.

    Raises:
      OSError: when there is no such file, or it cannot be read.
      ValueError: when it is damaged, too large, or holds objects.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        _check_end(file, size)
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                _check_members(members, size)
                return {
                    member.filename.removesuffix(".npy"): _read_member(archive, member)
                    for member in members
                }
        # What zipfile raises for an encrypted member, an unknown version and a bad offset.
        except (zipfile.BadZipFile, RuntimeError, EOFError, struct.error, zlib.error) as error:
            raise ValueError(f"a damaged archive ({error})") from error


def _check_end(file: BinaryIO, size: int) -> None:
    """Raises ValueError unless the archive has a small directory; the library reads it whole."""
    if size > limits.PREDICTIONS_BYTES:
        raise ValueError(f"larger than {limits.PREDICTIONS_BYTES >> 20} MiB")
    file.seek(max(size - END_SIZE - LARGE_END_SIZE, 0))
    tail = file.read()
    end = tail[-END_SIZE:]
    if len(end) < END_SIZE or not end.startswith(END):
        raise ValueError("not an archive, or cut off")
    directory = struct.unpack("<I", end[12:16])[0]
    if tail[:-END_SIZE].startswith(LARGE_END) or directory > DIRECTORY_BYTES:
        raise ValueError("an archive of too many files")
    file.seek(0)


def _check_members(members: list[zipfile.ZipInfo], size: int) -> None:
    names = [member.filename for member in members]
    if len(names) > limits.PREDICTIONS_ARRAYS or len(set(names)) < len(names):
        raise ValueError(f"{len(names)} arrays, too many or two of one name")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("compressed arrays, which are never written here")
    # Overlapping members would give more than the file has.
    if sum(member.file_size for member in members) > size:
        raise ValueError("arrays that overlap")


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    contents = archive.read(member)
    _check_header(io.BytesIO(contents), len(contents))
    try:
        array: np.ndarray = np.load(io.BytesIO(contents), allow_pickle=False)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"{member.filename}: {error}") from error
    return array


def _check_header(file: BinaryIO, size: int) -> None:
    """Raises ValueError unless ``size`` bytes hold the array that the header tells of."""
    try:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version}")
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
    except Exception as error:  # the header is parsed as Python text: damage raises nearly anything
        raise ValueError(f"a damaged header ({error!s:.200})") from error
    if dtype.kind not in "biufU":
        raise ValueError(f"holds {dtype!s:.50}, not plain numbers or text; no pickle is read")
    if any(length < 0 for length in shape) or not dtype.itemsize:
        raise ValueError(f"the shape is {shape!s:.100}")
    if math.prod(shape) * dtype.itemsize != size - file.tell():
        raise ValueError(f"the shape {shape!s:.100} is not that of the {size} bytes that follow")
