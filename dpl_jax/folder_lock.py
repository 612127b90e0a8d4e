"""One process at a time in a run folder."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import socket
import stat
from pathlib import Path
from typing import TextIO

from dpl_jax.errors import RunFolderError
from dpl_jax.json_files import parse_json
from dpl_jax.printable import printable
from dpl_jax.regular_files import open_regular

LOG = logging.getLogger(__name__)


def lock_folder(path: Path, *, wait: bool = False) -> TextIO:
    """Locks a folder for this process; the lock dies with the process, however that ends.

    Args:
      path: the folder.
      wait: for a process that holds the lock, instead of raising.

    Returns:
      the open lock file; closing it gives the lock up.

    Raises:
      RunFolderError: when another process holds the lock.
    """
    file = _open(path / "lock")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError as error:
        holder = _holder(file)
        file.close()
        raise RunFolderError(
            f"The run folder {path} is in use by {holder}. Wait for it to end, "
            "or choose another folder with --workdir."
        ) from error
    except OSError as error:
        LOG.warning("%s cannot be locked (%s): start no second run in it.", path, error)
    try:
        file.truncate(0)
        file.write(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}) + "\n")
        file.flush()
    except OSError:
        with contextlib.suppress(OSError):  # closing writes what is left
            file.close()
        raise
    return file


def in_use(path: Path) -> bool:
    """Whether a process has locked the folder; False where folders cannot be locked."""
    try:
        with open_regular(path / "lock") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _open(path: Path) -> TextIO:
    """Opens the lock file, and makes it where there is none; never what a link leads to."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
    handle = os.open(path, flags, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(f"{path} is not a regular file")
    # Opened by its path, which the file then has for a name: RunFolder.root reads it.
    return open(path, "a+", encoding="utf-8", opener=lambda *_: handle)


def _holder(file: TextIO) -> str:
    file.seek(0)
    try:
        holder = parse_json(file.read(4096))
        return printable(f"process {holder['pid']} on {holder['host']}")
    except (ValueError, KeyError, TypeError):
        return "another process"  # it has locked the file and not yet written its name
