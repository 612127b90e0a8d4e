"""Opening files that others have made: nothing blocks, and nothing is read without a limit."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular(path: str | os.PathLike[str], buffering: int = -1) -> BinaryIO:
    """Opens a file for reading, if it is one; links are followed.

    Opening a named pipe would wait for a writer, and a device such as /dev/zero never ends.

    Raises:
      FileNotFoundError, PermissionError and other OSErrors: as ``open``; an OSError also for
        whatever is no regular file.
      ValueError: for a name that no file can have.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError("not a regular file")
        return os.fdopen(handle, "rb", buffering)
    except BaseException:
        os.close(handle)
        raise


def read_bytes(path: str | os.PathLike[str], most: int) -> bytes:
    """Reads a whole file of at most ``most`` bytes.

    Raises:
      OSError: as :func:`open_regular`.
      ValueError: when it is larger.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            limit = f"{most >> 20} MiB" if most >> 20 else f"{most} bytes"
            raise ValueError(f"{Path(path).name} is larger than {limit}")
        return file.read(size)
