"""Opening safetensors files: nothing but numbers is in them, and the header is looked at first.

The library refuses tensors that overlap, leave gaps or reach beyond the file.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from dpl_jax.files import limits
from dpl_jax.files.regular import open_regular


@contextlib.contextmanager
def open_tensors(path: Path, framework: str = "numpy") -> Iterator[Any]:
    """Yields an open file: ``keys()``, ``get_slice(name)`` and ``get_tensor(name)``.

    A slice gives shape and type from the header alone.

    Raises:
      OSError: when there is no such file.
      ValueError: when it is damaged, or its header is too large.
    """
    with open_regular(path) as file:
        start = file.read(8)
    size = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
    if size > limits.SAFETENSORS_HEADER_BYTES:
        raise ValueError(f"{path.name}: a header of {size} bytes is none of these weights")
    try:
        opened = safe_open(path, framework=framework)
    except SafetensorError as error:
        raise ValueError(f"{path.name}: {error}") from error
    with opened:
        yield opened
