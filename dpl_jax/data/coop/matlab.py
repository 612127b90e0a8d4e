"""MATLAB files of annotations: numbers, texts, cells and structures of MAT-file level 5.

SciPy's reader is compiled, and damaged files make it read beyond its memory: it crashed on one in
some hundred mutated files. The format is MathWorks' "MAT-File Format", chapter 1.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dpl_jax.errors import DataError, DataNotFoundError
from dpl_jax.files import limits
from dpl_jax.files.regular import read_bytes

HEADER_SIZE, TAG_SIZE = 128, 8
# Types of elements.
NUMBERS = {1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8"}
NUMBERS |= {12: "<i8", 13: "<u8"}
ENCODINGS = {1: "latin-1", 2: "latin-1", 4: "utf-16-le", 16: "utf-8", 17: "utf-16-le"}
MATRIX, COMPRESSED = 14, 15
# Classes of matrices; those of numbers are 6 to 15.
CELL, STRUCTURE, TEXT = 1, 2, 4
DEPTH = 4  # cells within cells
Element = tuple[int, bytes]


def read_row(path: Path, field: str) -> list[Any]:
    """Returns one variable of a MATLAB file as a list.

    Returns:
        Numbers; or of a cell array its values, of a structure array dicts. A value is such a list
        itself, or a text.

    Raises:
        DataNotFoundError: there is no such file.
        DataError: it is damaged, or another file.
    """
    try:
        contents = read_bytes(path, limits.TEXT_BYTES)
        if contents[124:128] != b"\0\1IM":
            raise ValueError("not of level 5")
        variables = dict(_variables(contents[HEADER_SIZE:]))
        if not isinstance(variables.get(field), list):
            raise ValueError(f"no list {field}")
    except FileNotFoundError as error:
        raise DataNotFoundError(
            f"There is no {path}. Without CoOp's split file the dataset's own annotations are "
            "needed: see docs/datasets.md."
        ) from error
    except (OSError, ValueError, struct.error, zlib.error, OverflowError) as error:
        raise DataError(f"{path} is not the MATLAB file it should be ({error}).") from error
    found: list[Any] = variables[field]
    return found


def _variables(contents: bytes) -> Iterator[tuple[str, Any]]:
    """Name and value of each variable."""
    total = 0
    for kind, data in _elements(contents):
        if kind == COMPRESSED:
            data = zlib.decompressobj().decompress(data, limits.MATLAB_BYTES + 1)
            total += len(data)
            if total > limits.MATLAB_BYTES:
                raise ValueError(f"more than {limits.MATLAB_BYTES >> 20} MiB when decompressed")
            kind, data = next(_elements(data), (0, b""))
        if kind == MATRIX:
            yield _matrix(data, DEPTH)


def _elements(contents: bytes) -> Iterator[Element]:
    """Type and data of each element; those of up to four bytes share the eight of their tag."""
    place = 0
    while place < len(contents):
        kind, size = struct.unpack_from("<II", contents, place)
        start = place + TAG_SIZE
        if kind >> 16:
            kind, size, start = kind & 0xFFFF, kind >> 16, place + 4
            place += TAG_SIZE
        else:
            place = start + size + (-size % 8 if kind != COMPRESSED else 0)
        if start + size > len(contents) or (start == place - 4 and size > 4):
            raise ValueError("cut off")
        yield kind, contents[start : start + size]


def _matrix(contents: bytes, depth: int) -> tuple[str, Any]:
    """Name and value of a matrix; an empty element is an empty list."""
    if not depth:
        raise ValueError("nested too deeply")
    if not contents:
        return "", []
    flags, dimensions, name, *parts = _elements(contents)
    kind = _integers(flags)[0] & 0xFF
    count = math.prod(max(length, 0) for length in _integers(dimensions))
    if kind == STRUCTURE:
        return name[1].decode("latin-1"), _structures(parts, count, depth)
    if count != len(parts) and kind == CELL:
        raise ValueError("a cell array that is cut off")
    if kind == CELL:
        return name[1].decode("latin-1"), [_matrix(data, depth - 1)[1] for _, data in parts]
    if not parts:
        raise ValueError("a matrix without values")
    if kind == TEXT:
        return name[1].decode("latin-1"), parts[0][1].decode(ENCODINGS.get(parts[0][0], "utf-8"))
    return name[1].decode("latin-1"), _numbers(parts[0])


def _structures(parts: list[Element], count: int, depth: int) -> list[dict[str, Any]]:
    if len(parts) < 2:
        raise ValueError("a structure without fields")
    (width, *_), (_, text), *values = (_integers(parts[0]), parts[1], *parts[2:])
    if width < 1:
        raise ValueError("fields without names")
    names = [
        text[place : place + width].split(b"\0")[0].decode("latin-1")
        for place in range(0, len(text), width)
    ]
    if count * len(names) != len(values):
        raise ValueError("a structure array that is cut off")
    found = [_matrix(data, depth - 1)[1] for _, data in values]
    return [
        dict(zip(names, found[row * len(names) : (row + 1) * len(names)], strict=True))
        for row in range(count)
    ]


def _integers(element: Element) -> list[int]:
    values = [int(value) for value in _numbers(element)]
    if not values:
        raise ValueError("a matrix without sizes")
    return values


def _numbers(element: Element) -> list[Any]:
    kind, data = element
    if kind not in NUMBERS:
        raise ValueError(f"an element of type {kind} where numbers should be")
    values: list[Any] = np.frombuffer(data, NUMBERS[kind]).tolist()
    return values
