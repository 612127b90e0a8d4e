"""A CSV or TSV file that lists images and their classes: ``data.labels=FILE``."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from dpl_jax.data.coop.build_split import image_names
from dpl_jax.data.coop.split_file import inside_path
from dpl_jax.data.folder_layout import SPLIT_NAMES, split_name
from dpl_jax.data.image_files import SUFFIXES
from dpl_jax.errors import DataError, DataNotFoundError
from dpl_jax.files.text import read_text

# What columns are called, the surest names first; case, spaces and underscores do not count.
PATH_COLUMNS = (
    *("path", "filepath", "imagepath", "imgpath", "file", "filename", "image", "imagefile"),
    *("imagename", "imgname", "img", "photo", "picture", "imageid", "imgid", "id"),
)
LABEL_COLUMNS = (
    *("classname", "labelname", "categoryname", "class", "label", "category", "labels"),
    *("target", "species", "breed", "classid", "labelid", "categoryid", "y"),
)
SPLIT_COLUMNS = ("split", "subset", "set", "partition")
DELIMITERS = ",;\t|"
SHOWN = 5  # so many problems are told; the others are counted


@dataclasses.dataclass(frozen=True)
class Row:
    """One image of the list: its path in the root, its class, and its split or ""."""

    line: int
    path: str
    label: str
    split: str


@dataclasses.dataclass(frozen=True)
class LabelList:
    """A list that was read.

    Attributes:
        splits: rows, sorted by path: of "train", "test" and perhaps "val", or all of them under "".
        classes: the sorted labels, by number where all are numbers.
        in_words: which file and columns.
    """

    splits: Mapping[str, list[Row]]
    classes: tuple[str, ...]
    in_words: str


@dataclasses.dataclass(frozen=True)
class _Table:
    """The cells below the header, each row with its line, and where path, label and split stand."""

    rows: list[tuple[int, list[str]]]
    columns: Mapping[str, int]
    header: list[str]


def read_label_list(root: Path, labels: str) -> LabelList:
    """Reads a list of images and classes, with a header and perhaps a column of splits.

    Args:
        root: the folder that the paths in it are relative to, or lie in; none may lead out of it.
        labels: the file, relative to ``root``. Commas, semicolons, tabs or bars are delimiters.

    Raises:
        DataNotFoundError: there is no such file, or images in it are not there.
        DataError: it is not such a list; the message names the lines.
    """
    path = root / os.path.expanduser(labels)
    table = _parse(path, _read_text(path))
    rows = _rows(path, root, table)
    _check_once(path, rows)
    classes = sorted({row.label for row in rows}, key=_by_number([row.label for row in rows]))
    splits, said = _splits(path, rows)
    columns = ", ".join(f"{table.header[i]} -> {name}" for name, i in table.columns.items())
    return LabelList(splits, tuple(classes), f"{path.name} ({columns}){said}")


def _read_text(path: Path) -> str:
    try:
        return read_text(path)
    except FileNotFoundError as error:
        raise DataNotFoundError(
            f"There is no file {path}: data.labels is relative to data.root, or absolute."
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}).") from error


def _parse(path: Path, text: str) -> _Table:
    """Cuts the text into cells by the delimiter with which the header makes sense.

    Raises:
        DataError: with none it does.
    """
    first = text.strip().partition("\n")[0].rstrip("\r")
    if not first.strip(DELIMITERS):
        raise DataError(f"{path} is empty; it needs a first line such as path,label.")
    for delimiter in DELIMITERS:
        rows = _cells(path, text, delimiter)
        _, header = next(rows, (0, []))
        columns = _columns(header)
        if {"path", "label"} <= columns.keys():
            return _Table(list(rows), columns, header)
    raise DataError(
        f"{path}: its first line, {first!r:.200}, has no column of paths (such as path, file, "
        "image or id) beside one of classes (such as label, class or category). Name the columns "
        "in a first line such as path,label or path,label,split."
    )


def _cells(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows with their line numbers; empty lines are left out."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}.") from error


def _columns(header: Sequence[str]) -> dict[str, int]:
    """Which columns are the path, the label and the split."""
    plain = ["".join(c for c in name.casefold() if c.isalnum()) for name in header]
    kinds = {"path": PATH_COLUMNS, "label": LABEL_COLUMNS, "split": SPLIT_COLUMNS}
    found = {
        kind: next((plain.index(name) for name in names if name in plain), None)
        for kind, names in kinds.items()
    }
    return {kind: column for kind, column in found.items() if column is not None}


def _rows(path: Path, root: Path, table: _Table) -> list[Row]:
    """The rows, checked one by one.

    Raises:
        DataError: naming the first lines that cannot be used.
    """
    rows, problems = list[Row](), list[str]()
    folders: dict[str, dict[str, list[str]]] = {}
    for line, cells in table.rows:
        if len(cells) != len(table.header):
            problems.append(f"line {line} has {len(cells)} cells, the header {len(table.header)}")
            continue
        name, label, said = (
            cells[table.columns[kind]] if kind in table.columns else ""
            for kind in ("path", "label", "split")
        )
        split = split_name(said) or ""
        if not name or not label:
            problems.append(f"line {line} has no {'label' if name else 'path'}")
        elif "split" in table.columns and not split:
            problems.append(f"line {line}: {said!r} is not train, val or test")
        else:
            plain = posixpath.normpath(name.replace("\\", "/"))
            name = inside_path(f"{path}, line {line}", root, plain)
            found = _find(root, name, folders)
            if len(found) == 1:
                rows.append(Row(line, found[0], " ".join(label.split()), split))
            else:
                what = f"could be {' or '.join(found)}" if found else "is not an image in the root"
                problems.append(f"line {line}: {name} {what}")
    if not table.rows:
        raise DataError(f"{path} lists no images: it has a header alone.")
    if problems:
        raise _problems(path, root, problems)
    return sorted(rows, key=lambda row: row.path)


def _problems(path: Path, root: Path, problems: Sequence[str]) -> DataError:
    more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    return DataError(
        f"{path}: {len(problems)} line(s) cannot be used: {'; '.join(problems[:SHOWN])}{more}. "
        f"Paths are relative to {root} (data.root); images end in {', '.join(SUFFIXES)}, which "
        "may be left out."
    )


def _find(root: Path, name: str, folders: dict[str, dict[str, list[str]]]) -> list[str]:
    """The images that a name in the list stands for: with its ending, or else without."""
    parent, file = posixpath.split(name)
    if parent not in folders:
        files = folders[parent] = {}
        for present in _images(root / parent):
            for known in (present, PurePosixPath(present).stem):
                files.setdefault(known, []).append(posixpath.join(parent, present))
    found = folders[parent].get(file, [])
    return [name] if name in found else found


def _images(folder: Path) -> list[str]:
    try:
        return image_names(folder)
    except DataError:
        return []


def _check_once(path: Path, rows: Sequence[Row]) -> None:
    """Refuses an image that is listed twice.

    Raises:
        DataError: naming both lines, and both labels where they differ.
    """
    seen: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: row.line):
        first = seen.setdefault(row.path, row)
        if first is not row:
            labels = f" as {first.label!r} and as {row.label!r}" if first.label != row.label else ""
            raise DataError(
                f"{path} lists {row.path} twice{labels}: lines {first.line} and {row.line}. Each "
                "image can be listed once; remove one of the lines."
            )


def _splits(path: Path, rows: Sequence[Row]) -> tuple[dict[str, list[Row]], str]:
    """The rows of each split, and what was taken for what.

    Raises:
        DataError: no training or no test images, or a class without training images.
    """
    if not any(row.split for row in rows):
        return {"": list(rows)}, ""
    splits = {split: [row for row in rows if row.split == split] for split in SPLIT_NAMES}
    said = ""
    if not splits["test"]:
        splits["test"], splits["val"] = splits["val"], []
        said = "; no test images: those of val are the test set"
    if not splits["train"] or not splits["test"]:
        lacking = "test" if splits["train"] else "train"
        raise DataNotFoundError(
            f"{path} has no {lacking} images in its column of splits; set some, or remove the "
            "column to have every class split here, 50/20/30."
        )
    trained = {row.label for row in splits["train"]}
    missing = next((row for row in rows if row.label not in trained), None)
    if missing is not None:
        raise DataError(
            f"{path}, line {missing.line}: the class {missing.label!r} has no training images; "
            "every class needs some."
        )
    held = "" if splits["val"] else "; no validation images: held out of the few-shot sample"
    return splits, said + held


def _by_number(labels: Sequence[str]) -> Callable[[str], Any]:
    """How labels are sorted: 2 before 10 where all of them are numbers."""
    return (lambda label: (int(label), label)) if all(map(str.isdecimal, labels)) else str
