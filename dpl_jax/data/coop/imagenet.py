"""ImageNet and the four sets that test its classes elsewhere: V2, Sketch, A and R."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dpl_jax.data.coop.build_split import Splits, image_names, visible
from dpl_jax.data.coop.readers import read_lines
from dpl_jax.data.split import Item
from dpl_jax.errors import DataError, DataNotFoundError

CLASSNAMES_FILE = "classnames.txt"  # lines "n01440764 tench", CLIP's names for the 1000 classes


def read_imagenet(name: str, folder: Path, images: Path) -> Splits:
    """Lists ImageNet (train and, as test, its validation images) or one of its variants.

    ImageNet has no validation images of its own: its search holds out a part of the few-shot
    train set, so that no test image is used before the final evaluation. The variants are for
    testing only.

    Raises:
        DataNotFoundError: ``classnames.txt`` or an image folder is missing.
        DataError: a folder that is no class of ``classnames.txt``.
    """
    names = read_classnames(folder)
    if name == "imagenet":
        return Splits(
            list_wnid_folders(images / "train", names, "train/"),
            [],
            list_wnid_folders(images / "val", names, "val/"),
        )
    if name == "imagenetv2":
        return Splits([], [], list_numbered_folders(images, names))
    return Splits([], [], list_wnid_folders(images, names))


def read_classnames(folder: Path) -> dict[str, str]:
    """Returns {wnid: class name} in the order of ``classnames.txt``, ImageNet's own.

    The variants may do without a copy of their own when ImageNet lies beside them.

    Raises:
        DataNotFoundError: there is no such file.
        DataError: a line without a name, or a wnid twice.
    """
    candidates = (folder / CLASSNAMES_FILE, folder.parent / "imagenet" / CLASSNAMES_FILE)
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        raise DataNotFoundError(
            f"There is no {candidates[0]}, the list of ImageNet's class names that CoOp provides "
            '(lines such as "n01440764 tench"); docs/datasets.md says where to get it.'
        )
    names: dict[str, str] = {}
    for wnid, _, classname in read_lines(path, lambda line: line.partition(" ")):
        if not classname or wnid in names:
            raise DataError(f'{path}: {wnid!r} must stand in one line, "wnid class name".')
        names[wnid] = classname
    return names


def list_wnid_folders(images: Path, names: dict[str, str], prefix: str = "") -> list[Item]:
    """Lists ``images/<wnid>/*``; the label is the wnid's place among all classes.

    A set with 200 of the 1000 folders (A and R) keeps ImageNet's order and numbers here; the
    dataset then numbers its own classes from 0 (``class_indices`` is the way back).

    Raises:
        DataError: a folder whose name is not in ``classnames.txt``.
    """
    wnids = visible(images, folders=True)
    labels = dict(zip(wnids, class_indices(wnids, names), strict=True))
    return [
        Item(images / wnid / file, labels[wnid], names[wnid], f"{prefix}{wnid}/{file}")
        for wnid in wnids
        for file in image_names(images / wnid)
    ]


def class_indices(wnids: Iterable[str], names: dict[str, str]) -> tuple[int, ...]:
    """Returns the place among ImageNet's classes of each wnid, 0..999.

    For ImageNet-A and -R, with their 200 sorted folders, this is the published mapping of their
    classes onto the 1000: ``logits[:, class_indices(wnids, names)]``.

    Raises:
        DataError: a wnid that is not in ``classnames.txt``.
    """
    places = {wnid: place for place, wnid in enumerate(sorted(names))}
    unknown = [wnid for wnid in wnids if wnid not in places]
    if unknown:
        raise DataError(
            f"The folder {unknown[0]!r} is not a class of {CLASSNAMES_FILE}: remove it, or get the "
            "list that names all of ImageNet's classes."
        )
    return tuple(places[wnid] for wnid in wnids)


def list_numbered_folders(images: Path, names: dict[str, str]) -> list[Item]:
    """Lists ImageNet-V2's ``images/<0..999>/*``: the folder is the place in ``classnames.txt``.

    Raises:
        DataError: a folder that is not such a number.
    """
    wnids = list(names)
    items = []
    for number in sorted(visible(images, folders=True), key=lambda name: name.zfill(4)):
        if not number.isdecimal() or int(number) >= len(wnids):
            raise DataError(f"{images / number} is not a class number of ImageNet-V2.")
        classname = names[wnids[int(number)]]
        files = image_names(images / number)
        items += [Item(images / number / f, int(number), classname, f"{number}/{f}") for f in files]
    return items
