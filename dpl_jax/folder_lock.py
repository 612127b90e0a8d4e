"""One process at a time in a run folder."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import socket
from pathlib import Path
from typing import TextIO

from dpl_jax.errors import RunFolderError

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
    file = (path / "lock").open("a+", encoding="utf-8")
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
        with (path / "lock").open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _holder(file: TextIO) -> str:
    file.seek(0)
    try:
        holder = json.loads(file.read(4096))
        return f"process {holder['pid']} on {holder['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"  # it has locked the file and not yet written its name
