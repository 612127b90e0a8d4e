"""CoOp's split files (``split_zhou_*.json``): lists of [path, label, class name] rows."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from dpl_jax.data.coop.build_split import Splits
from dpl_jax.data.split import Item
from dpl_jax.errors import DataError, DataNotFoundError
from dpl_jax.files.json import read_json

DRIVE = re.compile(r"[A-Za-z]:($|[/\\])")  # of Windows: C:\photos


def read_split(path: Path, images: Path) -> Splits:
    """Reads a split file.

    Args:
        path: the JSON file, {"train" | "val" | "test": [[path, label, class name], ...]}.
        images: the folder that its paths are relative to. No path may lead out of it.

    Raises:
        DataNotFoundError: there is no such file.
        DataError: it is not a split file, or a path in it leaves the image folder.
    """
    try:
        lists = read_json(path)
    except FileNotFoundError as error:
        raise DataNotFoundError(f"There is no split file {path} (data.split_file).") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON ({error}); get it again.") from error
    if not isinstance(lists, dict) or not {"train", "val", "test"} <= set(lists):
        raise DataError(f'{path} is not a split file: it has no "train", "val" and "test" lists.')
    splits = [_items(lists[name], path, images) for name in ("train", "val", "test")]
    check_disjoint(path, *splits)
    return Splits(*splits)


def check_disjoint(path: Path, *splits: list[Item]) -> None:
    """Refuses a split file that lists one image in two splits.

    Raises:
        DataError: with the first such image.
    """
    seen: set[str] = set()
    for items in splits:
        names = {item.name for item in items}
        if seen & names:
            raise DataError(f"{path} lists {min(seen & names)} in two splits; each needs its own.")
        seen |= names


def _items(rows: Any, path: Path, images: Path) -> list[Item]:
    if not isinstance(rows, list):
        raise DataError(f"{path}: a split must be a list of [path, label, class name] rows.")
    return [_item(row, path, images) for row in rows]


def _item(row: Any, path: Path, images: Path) -> Item:
    """Turns one row into an item, after checking that its path stays inside the image folder."""
    if not _is_row(row):
        raise DataError(f"{path}: {row!r:.200} is not a [path, label, class name] row.")
    name, label, classname = row
    inside = inside_path(str(path), images, name)
    return Item(images / inside, label, classname, inside)


def inside_path(where: str, images: Path, name: str) -> str:
    r"""The path of an image relative to the image folder, with ``/``, as any system writes it.

    ``a\b.jpg`` is a/b.jpg, unless there is a file of that very name. What begins with a slash
    may lie in the folder, by its whole path or by the rest of it.

    Raises:
        DataError: it leads out of the folder; the message names ``where`` it stands.
    """
    if "\\" in name and not _exists(images / name):
        name = name.replace("\\", "/")
    if name.startswith("/"):
        whole, rest = os.path.abspath(images), name.lstrip("/")
        if name.startswith(f"{whole}/"):
            name = name.removeprefix(f"{whole}/")
        elif ".." not in PurePosixPath(rest).parts and _exists(images / rest):
            name = rest
    check_inside(where, images, name)
    return str(PurePosixPath(name))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # longer than names can be, or with a null character
        return False


def check_inside(where: str, images: Path, name: str) -> None:
    """Refuses the name of an image that leads out of the image folder.

    Links within the folder are followed: who made the folder may keep images elsewhere.

    Raises:
        DataError: naming ``where`` the name stands.
    """
    inside = PurePosixPath(name)
    reason = ""
    if DRIVE.match(name):
        reason = "a drive letter"
    elif inside.is_absolute():
        reason = "an absolute path"
    elif ".." in name.replace("\\", "/").split("/"):
        reason = '".."'
    elif "\0" in name:
        reason = "a null character"
    if reason:
        raise DataError(
            f"{where} points outside the image folder, by {reason}: {name!r}. Paths must be "
            f"relative to {images} and stay in it; get the file from a source you trust."
        )


def _is_row(row: Any) -> bool:
    """Whether a row has the right types, a path that a file can have, and a name that is text."""
    if not isinstance(row, list) or [type(value) for value in row] != [str, int, str]:
        return False
    try:
        os.fsencode(row[0])  # names that are not UTF-8 are halves of characters here
        row[2].encode()
    except UnicodeEncodeError:
        return False
    return bool(row[0] and row[2].strip())
