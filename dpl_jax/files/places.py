"""Where files lie on this machine is nobody else's business: paths as names, in what leaves it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Settings and results that are paths, by their last name; a CLIP's may be a hub id too.
PATHS = frozenset(("lengths_file", "file", "folder", "root", "cache_dir", "labels"))
CLIP_PATH = "path"
TEXTS = frozenset(("template",))  # which may well start with a slash
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)


def without_places(value: Any, key: str = "") -> Any:
    """JSON values, such as results or settings, with names in the place of this machine's paths."""
    if isinstance(value, Mapping):
        return {name: without_places(each, str(name)) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_places(each, key) for each in value]
    if not isinstance(value, str | os.PathLike):
        return value
    path = os.fspath(value)
    if key == CLIP_PATH:
        return clip_name(path)
    own = key in PATHS or (key not in TEXTS and path.startswith(("/", "~")))
    return Path(path).name if own else path


def clip_name(path: str) -> str:
    """A CLIP's hub id, short name or "tiny" as it is; of a folder, its last name."""
    return path if _is_name(path) else Path(os.path.abspath(path)).name


def is_hub_id(path: str) -> bool:
    """Whether a CLIP is named by an id of the Hugging Face hub, not by a folder."""
    return _is_name(path) and HUB_ID.fullmatch(path) is not None


def _is_name(path: str) -> bool:
    return not path.startswith((".", "~", "/")) and path.count("/") <= 1 and not Path(path).is_dir()
