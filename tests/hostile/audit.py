"""An audit hook under which files are only data: no code, no import, no process, no other file.

Python raises an audit event (PEP 578) for whatever reaches the system. A hook cannot be taken away
again, so this one is put in once, and does nothing outside of :func:`only_data`.
"""

from __future__ import annotations

import contextlib
import encodings.utf_16_be  # json reads these too, and imports them at the first such file
import encodings.utf_16_le
import encodings.utf_32_be
import encodings.utf_32_le  # noqa: F401
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import jinja2.debug  # noqa: F401  jinja2 imports it at the first error within a template

import dpl_jax

PACKAGE = Path(dpl_jax.__file__).resolve().parent
ROOT = PACKAGE.parent
# Where code and data of the package, of its libraries and of Python itself lie.
INSTALLED = tuple(
    {f"{os.path.realpath(place)}/" for place in (sys.prefix, sys.base_prefix, PACKAGE)}
    | {f"{ROOT / folder}/" for folder in ("configs", "launch")}
)
NEVER = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "os.forkpty",
    "pty.spawn",
    "socket.connect",
    "socket.bind",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "urllib.Request",
    "ctypes.dlopen",
    "pickle.find_class",
    "marshal.loads",
    "webbrowser.open",
)
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.chmod")
CHANGES += ("os.truncate", "os.utime", "os.chown", "shutil.rmtree", "shutil.move")
READS = ("os.listdir", "os.scandir")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_folder: str | None = None
_installed = False


class NotOnlyDataError(BaseException):
    """What the hook forbids; no ``except Exception`` takes it for damage."""


@contextlib.contextmanager
def only_data(folder: Path) -> Iterator[None]:
    """Within this block, a :class:`NotOnlyDataError` for all but reading data.

    Args:
      folder: the one whose files may be read and written; elsewhere only the package's, its
        libraries' and Python's may be read.
    """
    global _folder, _installed
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True
    _folder = os.path.realpath(folder)
    try:
        yield
    finally:
        _folder = None


def _hook(event: str, arguments: tuple) -> None:
    if _folder is None:
        return
    wrong = (
        event in NEVER
        or (event == "import" and arguments[0] not in sys.modules)
        or (event == "exec" and not _is_installed_code(arguments[0]))
        or (event == "open" and not _may_open(*arguments))
        or (event in CHANGES and not _is_within(arguments[0]))
        or (event in READS and not _is_readable(arguments[0]))
    )
    if wrong:
        raise NotOnlyDataError(f"{event}: {arguments!r:.300}")


def _is_installed_code(code: CodeType) -> bool:
    """Whether code is of a file of the package or a library; a template of ours is such a file."""
    return os.path.realpath(code.co_filename).startswith(INSTALLED)


def _may_open(path: object, mode: object, flags: int) -> bool:
    if isinstance(path, int):
        return True
    return _is_within(path) or (not flags & WRITING and _is_readable(path))


def _is_within(path: object) -> bool:
    real = _real(path)
    return real == _folder or real.startswith(f"{_folder}/")


def _is_readable(path: object) -> bool:
    return isinstance(path, int) or _is_within(path) or f"{_real(path)}/".startswith(INSTALLED)


def _real(path: object) -> str:
    return os.path.realpath(os.fsdecode(path if path is not None else "."))  # type: ignore[arg-type]
