"""Folders whose contents this user trusts as his own: compiled programs, the plans of jobs."""

from __future__ import annotations

import os
from pathlib import Path


def make_private(folder: Path) -> bool:
    """Makes ``folder`` with mode 0700; whether it, and a link to it, belong to the user.

    Raises:
      OSError: when it cannot be made, or its mode cannot be set.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    if {folder.lstat().st_uid, folder.stat().st_uid} != {os.getuid()}:
        return False
    folder.chmod(0o700)
    return True
