"""What every data source ends in: labelled items in a train, a validation and a test split."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from dpl_jax.data.class_names import first_same, one_text, spoken, undecodable
from dpl_jax.errors import DataError


@runtime_checkable
class Record(Protocol):
    """An encoded image inside a larger file; its ``repr`` tells it from all other records."""

    def read(self) -> bytes:
        """Returns the bytes of the encoded image (JPEG, PNG, ...)."""


SPLITS = ("train", "val", "test")
Image: TypeAlias = Path | np.ndarray | Record


@dataclasses.dataclass(frozen=True)
class Item:
    """One labelled image.

    Attributes:
        image: a file, an array (H, W, 3) uint8, or a record to read the encoded image from.
        label: 0..C-1, an index into the dataset's class names.
        classname: the name of that class as the source spells it.
        name: what identifies the image wherever the data lie ("Faces/image_0312.jpg",
            "digits/0123"): written into file lists and hashed.
    """

    image: Image = dataclasses.field(compare=False, repr=False)
    label: int
    classname: str
    name: str


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A classification task: three disjoint splits over the same classes.

    Attributes:
        name: the dataset's name in the config.
        train: labelled training images, all of them or the few-shot sample.
        val: validation images; empty where the source has none.
        test: test images, used by the final evaluation alone.
        classnames: the C class names, by label.
        template: the text prompt, with ``{}`` where the class name goes.
        split: where the split comes from, in words.
        split_built: True when the split was drawn here because the source has none.
        same_names: whether two classes may carry one name, as in ImageNet's list for CLIP.
        passed_over: pictures in its folders that are not read: of other kinds, or too deep.
    """

    name: str
    train: tuple[Item, ...]
    val: tuple[Item, ...]
    test: tuple[Item, ...]
    classnames: tuple[str, ...]
    template: str
    split: str = ""
    split_built: bool = False
    same_names: bool = False
    passed_over: int = 0


def build_dataset(
    name: str,
    *,
    train: Sequence[Item],
    val: Sequence[Item],
    test: Sequence[Item],
    template: str,
    split: str = "",
    split_built: bool = False,
    same_names: bool = False,
) -> Dataset:
    """Puts a source's items together: labels become 0..C-1 in their own order, names are checked.

    Args:
        same_names: whether two classes may carry one name, as in ImageNet's list for CLIP.

    Raises:
        DataError: a label with two names, two labels with one name, or nothing at all.
    """
    items = [*train, *val, *test]
    if not items:
        raise DataError(f"{name}: no images were found; check data.root and docs/datasets.md.")
    names = class_order(items, name)
    check_text_names(names, name)
    if not same_names:
        check_unique_names(names, name)
    labels = {label: new for new, (label, _) in enumerate(names)}
    return Dataset(
        name=name,
        train=relabel(train, labels),
        val=relabel(val, labels),
        test=relabel(test, labels),
        classnames=tuple(classname for _, classname in names),
        template=template,
        split=split,
        split_built=split_built,
        same_names=same_names,
    )


def class_order(items: Iterable[Item], source: str) -> list[tuple[int, str]]:
    """Returns (label, class name) sorted by label, as the source numbers them (gaps allowed).

    Raises:
        DataError: one label with two class names.
    """
    names: dict[int, str] = {}
    for item in items:
        known = names.setdefault(item.label, item.classname)
        if known != item.classname:
            raise DataError(
                f"{source}: label {item.label} has two class names, {known!r} and "
                f"{item.classname!r} (image {item.name}); give each label one name."
            )
    return sorted(names.items())


def check_unique_names(names: Sequence[tuple[int, str]], source: str) -> None:
    """Checks that no two classes would get the same text prompt.

    Raises:
        DataError: two labels whose class names are one text to CLIP: they differ in underscores,
            spaces, case or how accents are composed, or not at all.
    """
    if same := first_same(spoken(classname) for _, classname in names):
        (first, one), (second, other) = names[same[0]], names[same[1]]
        raise DataError(
            f"{source}: {one_text(one, other)} They are label {first} and label {second}."
        )


def check_text_names(names: Sequence[tuple[int, str]], source: str) -> None:
    """Checks that every class name is text.

    Raises:
        DataError: a name that is blank, or not UTF-8.
    """
    for label, name in names:
        reason = undecodable(name) or ("" if name.strip() else f"The class name {name!r} is blank")
        if reason:
            raise DataError(f"{source}: label {label}: {reason}; rename the class.")


def relabel(items: Iterable[Item], labels: dict[int, int]) -> tuple[Item, ...]:
    """Returns the items whose label is in ``labels``, with the new label that it gives."""
    return tuple(
        dataclasses.replace(item, label=labels[item.label])
        for item in items
        if item.label in labels
    )


def subsample_classes(dataset: Dataset, classes: str) -> Dataset:
    """Keeps all, the base (first ceil(C/2)) or the new (other) classes, numbered again from 0.

    This is the base-to-new protocol of CoCoOp (arXiv 2203.05557). Draw the few-shot sample first,
    so that both halves come from the same one.

    Raises:
        DataError: ``classes`` is none of "all", "base", "new", or the half would be empty.
    """
    if classes == "all":
        return dataset
    if classes not in ("base", "new"):
        raise DataError(f'data.classes is {classes!r}; it must be "all", "base" or "new".')
    count = len(dataset.classnames)
    base = math.ceil(count / 2)
    chosen = range(base) if classes == "base" else range(base, count)
    if not chosen:
        raise DataError(f"{dataset.name} has {count} class(es): there is no half of new classes.")
    labels = {label: new for new, label in enumerate(chosen)}
    return dataclasses.replace(
        dataset,
        train=relabel(dataset.train, labels),
        val=relabel(dataset.val, labels),
        test=relabel(dataset.test, labels),
        classnames=tuple(dataset.classnames[label] for label in chosen),
    )


def list_hash(items: Iterable[Item]) -> str:
    """Returns the SHA-256 (hexadecimal) of the items' names and labels, in their order."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(json.dumps([item.name, item.label]).encode() + b"\n")
    return digest.hexdigest()


def file_lists(dataset: Dataset) -> dict[str, Any]:
    """Returns the lists as [name, label, class name] rows, the layout of CoOp's split files."""
    return {
        split: [[item.name, item.label, item.classname] for item in items]
        for split, items in (("train", dataset.train), ("val", dataset.val), ("test", dataset.test))
    }
