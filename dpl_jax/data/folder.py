"""Images of one's own: ``root/{train,val,test}/<class>/*``, ``root/<class>/*``, or a list."""

from __future__ import annotations

import dataclasses
import logging
import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from dpl_jax.data.class_names import undecodable
from dpl_jax.data.coop.build_split import (
    SPLIT_NEEDS,
    SPLIT_SEED,
    Splits,
    image_names,
    split_classes,
    visible,
)
from dpl_jax.data.coop.split_file import read_split
from dpl_jax.data.folder_layout import LIST_HELP, Layout, find_layout, has_images, listed, unread
from dpl_jax.data.image_files import SUFFIXES, Unread
from dpl_jax.data.label_list import read_label_list
from dpl_jax.data.split import Dataset, Item, build_dataset
from dpl_jax.data.templates import TEMPLATES
from dpl_jax.errors import DataError, DataNotFoundError
from dpl_jax.files.json import read_json
from dpl_jax.files.once import warn_once

CLASSNAMES_FILE = "classnames.json"  # {"folder": "class name"}, for the folders it names
DRAWN = f"50/20/30 % of every class, drawn with the fixed seed {SPLIT_SEED}"
log = logging.getLogger(__name__)


def read_folder(root: str, labels: str = "", own_split: Path | None = None) -> Dataset:
    """Lists a tree of class folders; labels follow the sorted folder names.

    With a folder of training images in the root ("train", "Training"), its siblings for validation
    and test are taken as they are; with "val" alone, its images are the test set and validation
    images are held out of the few-shot sample. Otherwise every folder is a class and is split
    50/20/30, with a fixed seed. :func:`dpl_jax.data.folder_layout.find_layout` decides.

    Args:
        root: the folder.
        labels: a CSV file that lists the images and their classes instead (config.data.labels).
        own_split: a run's split.json, in place of whatever the folder holds now.

    Raises:
        DataNotFoundError: there is no such folder, or nothing in it to list.
        DataError: an empty class, two classes of one name, or a damaged ``classnames.json``.
    """
    if not root:
        raise DataError("Say where your images are: --config.data.root=DIR (docs/datasets.md).")
    base = Path(os.path.expanduser(root))  # Path's own raises for users that are not there
    if base.is_file():
        raise DataError(f"{base} is a file, not a folder; unpack it if it is an archive.")
    if not base.is_dir():
        raise DataNotFoundError(f"There is no folder {base}; set --config.data.root.")
    if own_split:
        return _dataset(base, read_split(own_split, base), own_split.name, built=True)
    if labels:
        return _read_list(base, labels)
    layout = find_layout(base)
    for note in layout.notes:
        warn_once(log, note)
    if layout.splits:
        given = _read_given_splits(base, layout)
        return _count_unread(base, _dataset(base, given, layout.in_words(), built=False))
    splits = _split_classes(base, layout)
    drawn = _dataset(base, splits, f"{layout.in_words()}; {DRAWN}", built=True)
    return _count_unread(base, drawn)


def _count_unread(base: Path, dataset: Dataset) -> Dataset:
    """Counts, and says, what is in the class folders and is not read."""
    items = (*dataset.train, *dataset.val, *dataset.test)
    folders = sorted({item.name.rpartition("/")[0] for item in items})
    found = sum((unread(base / folder) for folder in folders), Unread())
    if found.total:
        warn_once(log, found.in_words(base))
    return dataclasses.replace(dataset, passed_over=found.total)


def read_classnames(base: Path, folders: Sequence[str]) -> dict[str, str]:
    """Returns {folder: class name}: the folder's name, or what ``classnames.json`` says.

    Raises:
        DataError: the file is no such mapping, or names a folder that is not there.
    """
    path = base / CLASSNAMES_FILE
    if not path.is_file():
        return _text_names(base, {folder: folder for folder in folders})
    try:
        given = read_json(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON ({error}).") from error
    if not isinstance(given, dict) or not all(isinstance(n, str) and n for n in given.values()):
        raise DataError(f'{path} must be a mapping such as {{"n02123045": "tabby cat"}}.')
    unknown = sorted(set(given) - set(folders))
    if unknown:
        raise DataError(
            f"{path} names the class folder {unknown[0]!r}, but there are only: "
            f"{', '.join(folders)}."
        )
    return _text_names(base, {folder: given.get(folder, folder) for folder in folders})


def _text_names(base: Path, names: dict[str, str]) -> dict[str, str]:
    """The same names, none of which is of bytes that are not UTF-8.

    Raises:
        DataError: naming the folder, as it is when an archive of another code page is unpacked.
    """
    for folder, name in names.items():
        if reason := undecodable(name):
            raise DataError(
                f"The class folder {folder!a} in {base}: {reason}. Rename the folder (convmv "
                "renames all that an archive of another code page has left)."
            )
    return names


def _dataset(base: Path, splits: Splits, origin: str, *, built: bool) -> Dataset:
    """Checks the splits and puts them together.

    Raises:
        DataError: a single class, or one file in two places.
    """
    _check_one_file_each(splits)
    try:
        dataset = build_dataset(
            "folder",
            train=splits.train,
            val=splits.val,
            test=splits.test,
            template=TEMPLATES["folder"],
            split=origin,
            split_built=built,
        )
    except DataError as error:  # two classes of one name
        raise DataError(f"{base}: {str(error).removeprefix('folder: ')}") from error
    if len(dataset.classnames) == 1:
        raise DataError(
            f"All images of {base} are of one class, {dataset.classnames[0]!r}: there is nothing "
            "to tell it from. Add images of another class, or of all else."
        )
    return dataset


def _read_list(base: Path, labels: str) -> Dataset:
    """Reads the images that a list names; without splits of its own they are split here."""
    found = read_label_list(base, labels)
    names = read_classnames(base, found.classes)
    if all(name.isdecimal() for name in names.values()):
        warn_once(
            log,
            f'The labels in {labels} are numbers, so that the text of a class is "a photo of a '
            f'3."; give names in {base / CLASSNAMES_FILE}: {{"3": "tabby cat"}}.',
        )
    numbers = {label: number for number, label in enumerate(found.classes)}
    splits = {
        split: [
            Item(base / row.path, numbers[row.label], names[row.label], row.path) for row in rows
        ]
        for split, rows in found.splits.items()
    }
    if "train" in splits:
        given = Splits(splits["train"], splits.get("val", []), splits["test"])
        return _dataset(base, given, found.in_words, built=False)
    classes: list[list[Item]] = [[] for _ in found.classes]
    for item in splits[""]:
        classes[item.label].append(item)
    drawn = _draw(base, classes)
    return _dataset(base, drawn, f"{found.in_words}; {DRAWN}", built=True)


def _read_given_splits(base: Path, layout: Layout) -> Splits:
    """Reads folders of splits; classes are those of the training images."""
    train = base / layout.prefix / layout.splits["train"]
    folders = visible(train, folders=True)
    names = read_classnames(base / layout.prefix, folders)
    items = {
        split: _list_split(base, f"{layout.prefix}{folder}", names, train)
        for split, folder in layout.splits.items()
    }
    return Splits(items["train"], items.get("val", []), items["test"])


def _list_split(base: Path, split: str, names: Mapping[str, str], train: Path) -> list[Item]:
    """Lists one split folder.

    Raises:
        DataError: a class that is not in ``train``, or without images.
    """
    present = visible(base / split, folders=True)
    unknown = sorted(set(present) - set(names))
    if unknown:
        raise DataError(
            f"{base / split / unknown[0]}: this class has no folder in {train}; every class needs "
            f"training images. There are {listed(list(names))} in {train}, and "
            f"{len(unknown)} of the {len(present)} folders in {base / split} are others."
        )
    labels = {folder: label for label, folder in enumerate(names)}
    return [
        item
        for folder in present
        for item in _list_class(base, f"{split}/{folder}", labels[folder], names[folder])
    ]


def _split_classes(base: Path, layout: Layout) -> Splits:
    """Lists the class folders, and draws the split.

    Raises:
        DataError: an empty class, or one of too few images.
    """
    names = read_classnames(base / layout.prefix, layout.classes)
    return _draw(
        base,
        [
            _list_class(base, f"{layout.prefix}{folder}", label, names[folder])
            for label, folder in enumerate(layout.classes)
        ],
    )


def _draw(base: Path, classes: Sequence[list[Item]]) -> Splits:
    """Draws the 50/20/30 % split of one's own images.

    Raises:
        DataError: naming the classes that have too few images for it.
    """
    try:
        return split_classes(classes, random.Random(SPLIT_SEED))
    except DataError as error:
        few = [f"{c[0].classname!r} ({len(c)})" for c in classes if len(c) < SPLIT_NEEDS]
        also = f" So few are also in {listed(few[1:], ending='')}." if len(few) > 1 else ""
        raise DataError(
            f"{base}: {error}{also} Add images, or make the parts yourself: "
            f"{base}/{{train,val,test}}/<class>/ (val may be missing), {LIST_HELP} with a column "
            "of splits."
        ) from error


def _list_class(base: Path, folder: str, label: int, classname: str) -> list[Item]:
    """Lists the images of one class folder; other files in it are left alone.

    Raises:
        DataError: there are none.
    """
    files = image_names(base / folder)
    deeper = [name for name in visible(base / folder, folders=True) if not files]
    deeper = [name for name in deeper if has_images(base / folder / name)]
    if deeper:
        raise DataError(
            f"The class folder {base / folder} has no images itself, but {listed(deeper)} in it "
            "do. Move them up into it, or make those folders the classes."
        )
    if not files:
        raise DataError(
            f"The class folder {base / folder} has no images ({', '.join(SUFFIXES)}); add some or "
            f"remove the folder. {unread(base / folder).in_words(base / folder)}".rstrip()
        )
    return [Item(base / folder / f, label, classname, f"{folder}/{f}") for f in files]


def _check_one_file_each(splits: Splits) -> None:
    """Refuses links by which one file is in two splits, or in two classes.

    Raises:
        DataError: naming both.
    """
    folders: dict[str, str] = {}
    seen: dict[str, tuple[str, Item]] = {}
    for split, items in (("train", splits.train), ("val", splits.val), ("test", splits.test)):
        for item in items:
            file = _real_path(item, folders)
            other, first = seen.setdefault(file, (split, item))
            if (other, first.label) != (split, item.label):
                raise DataError(
                    f"{first.image} ({other}) and {item.image} ({split}) are one file, by a link. "
                    "An image can be in one split and in one class only; remove one of them."
                )


def _real_path(item: Item, folders: dict[str, str]) -> str:
    """The file that an item's path leads to; ``folders`` keeps those that are known."""
    path = str(item.image)
    if os.path.islink(path):
        return os.path.realpath(path)
    folder, name = os.path.split(path)
    if folder not in folders:
        folders[folder] = os.path.realpath(folder)
    return os.path.join(folders[folder], name)
