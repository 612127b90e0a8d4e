"""One process at a time in a run folder.

The kernel gives up an ``flock`` however its process ends, but some network file systems keep one
within a machine. So the file names its holder, who touches it, and a holder on another machine
counts for as long as the file's time moves. That time is compared with itself, not with a clock.

The ``filelock`` library does not replace this: its locks by ``flock`` do not name the holder, and
its leases take the folder from a process that is suspended on the same machine.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import io
import json
import logging
import os
import socket
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TextIO

from dpl_jax.errors import RunFolderError
from dpl_jax.files.json import parse_json
from dpl_jax.files.printable import printable
from dpl_jax.files.regular import open_regular

LOG = logging.getLogger(__name__)
BEAT = 15.0  # seconds between two touches of a lock that is held
LOOK, LOOKS = 3.0, 15  # seconds between two looks at a holder elsewhere, and how many: three beats
OLD = 3600.0  # seconds without a touch after which there is no need to look
MOST = 4096  # bytes that are read of a lock


def lock_folder(
    path: Path,
    *,
    wait: bool = False,
    host: str | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> TextIO:
    """Locks a folder for this process; the lock dies with the process, however that ends.

    Args:
      path: the folder.
      wait: for a process that holds the lock, instead of raising.
      host: the name of this machine; None for the one that it has.
      sleep: between two looks at a process on another machine, for so many seconds.

    Returns:
      the open lock file; closing it gives the lock up.

    Raises:
      RunFolderError: when another process holds the lock.
    """
    host = host or socket.gethostname()
    file = _open(path / "lock")
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise _in_use_by(path, _look(path / "lock").content) from error
        except OSError as error:
            LOG.warning("%s cannot be locked (%s): start no second run in it.", path, error)
        taken_over = _wait_for_others(path, host, wait, sleep)
        file.hold(host)
        if taken_over:  # by another machine too, perhaps: the last one has it
            sleep(LOOK)
            if (content := _look(path / "lock").content) != file.content:
                raise _in_use_by(path, content)
    except BaseException:
        with contextlib.suppress(OSError):  # closing writes what is left
            file.close()
        raise
    return file


def in_use(path: Path) -> bool:
    """Whether a process has locked the folder, as far as the file system shows it at once."""
    try:
        with open_regular(path / "lock") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


class _LockFile(io.TextIOWrapper):
    """The open lock file. Once it is held, it is touched until it is closed, and then emptied."""

    content = b""  # what it holds, while this process holds the lock
    _pid = 0

    def hold(self, host: str) -> None:
        """Names this process as the holder, and starts the heartbeat."""
        start = datetime.datetime.now(datetime.UTC).isoformat()
        text = json.dumps({"host": host, "pid": os.getpid(), "start": start}) + "\n"
        self.truncate(0)
        self.write(text)
        self.flush()
        self._path, self._released = Path(self.name).absolute(), threading.Event()
        beat = self._path, self.fileno(), text.encode(), self._released
        self._thread = threading.Thread(target=_beat, args=beat, name="lock", daemon=True)
        self.content, self._pid = text.encode(), os.getpid()
        self._thread.start()

    def close(self) -> None:
        """Gives the lock up; in a forked process it is left to the one that took it."""
        if not self.closed and self._pid == os.getpid() and not sys.is_finalizing():
            self._released.set()
            if self._thread.ident is not None:
                self._thread.join()
            with contextlib.suppress(OSError):  # the folder may be gone, or have turned read-only
                if _look(self._path).content == self.content:
                    os.ftruncate(self.fileno(), 0)
        super().close()


class _Seen(NamedTuple):
    time: int  # in nanoseconds, of the last touch
    content: bytes


def _look(path: Path) -> _Seen:
    """What the file server has now: opening a file asks it, where an open one may be cached."""
    with open_regular(path) as file:
        return _Seen(os.fstat(file.fileno()).st_mtime_ns, file.read(MOST))


def _beat(path: Path, handle: int, content: bytes, released: threading.Event) -> None:
    """Touches a lock until it is released, or lost to whoever removed or took it."""
    while not released.wait(BEAT):
        try:
            lost = _look(path).content != content
            if not lost:
                os.utime(handle)
        except FileNotFoundError:
            lost = True
        except OSError:
            continue  # a file server that is away for a moment
        if lost:
            LOG.warning(
                "%s was removed or taken by another process: two processes may write into its "
                "folder. End one of them.",
                path,
            )
            return


def _wait_for_others(path: Path, host: str, wait: bool, sleep: Callable[[float], object]) -> bool:
    """Returns when no process on another machine holds the lock; whether one had left it.

    Raises:
      RunFolderError: when one does, unless it is to be waited for.
    """
    seen = _look(path / "lock")
    while seen.content and _named(seen.content, "host") != host:
        before, holder = seen, _holder(seen.content)
        if not _is_old(path, seen):
            LOG.info("%s is locked by %s: looking whether that still runs.", path, holder)
            for _ in range(LOOKS):
                sleep(LOOK)
                if (seen := _look(path / "lock")) != before:
                    break
        if seen == before:
            LOG.warning("%s was left locked by %s, which no longer runs: taken over.", path, holder)
            return True
        if seen.content and not wait:
            raise _in_use_by(path, seen.content)
    return False


def _is_old(path: Path, seen: _Seen) -> bool:
    """Whether a lock was not touched for long, by the clock that gives a new file its time."""
    try:
        with tempfile.TemporaryFile(dir=path) as new:
            return os.fstat(new.fileno()).st_mtime_ns - seen.time > OLD * 1e9
    except OSError:
        return False


def _open(path: Path) -> _LockFile:
    """Opens the lock file, and makes it where there is none; never what a link leads to."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
    handle = os.open(path, flags, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(f"{path} is not a regular file")
    # Opened by its path, which the file then has for a name: RunFolder.root reads it.
    return _LockFile(open(path, "a+b", opener=lambda *_: handle), encoding="utf-8")


def _in_use_by(path: Path, content: bytes) -> RunFolderError:
    return RunFolderError(
        f"The run folder {path} is in use by {_holder(content)}. Wait for it to end, "
        "or choose another folder with --workdir."
    )


def _holder(content: bytes) -> str:
    pid, host = _named(content, "pid"), _named(content, "host")
    # One that has locked the file may not have written its name yet.
    return "another process" if pid is None else printable(f"process {pid} on {host}")


def _named(content: bytes, name: str) -> object:
    try:
        return parse_json(content)[name]
    except (ValueError, KeyError, TypeError):
        return None
