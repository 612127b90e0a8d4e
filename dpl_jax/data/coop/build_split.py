"""Building a split as CoOp's readers do, where its split file is missing."""

from __future__ import annotations

import dataclasses
import logging
import os
import random
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from dpl_jax.data.image_files import is_image, is_system_file, is_system_folder
from dpl_jax.data.split import Item
from dpl_jax.errors import DataError, DataNotFoundError
from dpl_jax.files.once import warn_once

# CoOp seeds the split with the run's seed, so that its test set would change with it; here the
# seed is fixed. Either way it is not the split of the published numbers.
SPLIT_SEED = 1
TRAIN_SHARE, VAL_SHARE = 0.5, 0.2  # CoOp's shares where a dataset has no split at all
SPLIT_NEEDS = 4  # so many images per class, or one of the three would be empty
VAL_SHARE_OF_TRAIN = 0.2  # and where it has a test set, but no validation
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Splits:
    """The items of a source, as its own lists label them."""

    train: list[Item]
    val: list[Item]
    test: list[Item]


def split_class_folders(
    images: Path, *, ignored: Collection[str] = (), renamed: Mapping[str, str] | None = None
) -> Splits:
    """Splits ``images/<class>/*`` into 50 % train, 20 % validation, 30 % test of every class.

    Args:
        ignored: class folders to leave out.
        renamed: class names to use instead of a folder's name.

    Raises:
        DataNotFoundError: there is no class folder.
        DataError: a class has too few images for three splits.
    """
    names = [name for name in visible(images, folders=True) if name not in ignored]
    if not names:
        raise DataNotFoundError(f"There are no class folders in {images}.")
    stream = random.Random(SPLIT_SEED)
    classes = []
    for label, folder in enumerate(names):
        classname = (renamed or {}).get(folder, folder)
        files = image_names(images / folder)
        classes.append(
            [Item(images / folder / f, label, classname, f"{folder}/{f}") for f in files]
        )
    splits = split_classes(classes, stream)
    _report(splits)
    return splits


def split_classes(classes: Sequence[list[Item]], stream: random.Random) -> Splits:
    """Shuffles each class and cuts it into 50 % train, 20 % validation and the rest, test.

    Raises:
        DataError: a class for which one of the three would be empty.
    """
    splits = Splits([], [], [])
    for items in classes:
        items = list(items)
        stream.shuffle(items)
        train = round(len(items) * TRAIN_SHARE)
        val = train + round(len(items) * VAL_SHARE)
        if not 0 < train < val < len(items):
            raise DataError(
                f"The class {items[0].classname!r} has {len(items)} image(s); at least "
                f"{SPLIT_NEEDS} are needed to split them into train, val and test."
                if items
                else "There is a class folder without images."
            )
        splits.train.extend(items[:train])
        splits.val.extend(items[train:val])
        splits.test.extend(items[val:])
    return splits


def split_train(trainval: Sequence[Item], test: Sequence[Item]) -> Splits:
    """Takes 20 % of every class of a dataset's training images for validation.

    Raises:
        DataError: a class with too few images to give one.
    """
    stream = random.Random(SPLIT_SEED)
    groups: dict[int, list[Item]] = {}
    for item in trainval:
        groups.setdefault(item.label, []).append(item)
    splits = Splits([], [], list(test))
    for items in groups.values():
        count = round(len(items) * VAL_SHARE_OF_TRAIN)
        if not count:
            raise DataError(
                f"The class {items[0].classname!r} has {len(items)} training image(s); at least 3 "
                "are needed to take one for validation."
            )
        stream.shuffle(items)
        splits.val.extend(items[:count])
        splits.train.extend(items[count:])
    _report(splits)
    return splits


def visible(folder: Path, *, folders: bool) -> list[str]:
    """Lists the folders, or else the files, that no system or tool has made, sorted by name.

    CoOp takes files in the order of the file system, which differs between machines.
    """
    try:
        with os.scandir(folder) as found:  # a folder may hold a million files
            entries = [(e.name, _is_folder(e)) for e in found]
    except FileNotFoundError as error:
        raise DataNotFoundError(f"There is no folder {folder}.") from error
    except PermissionError as error:
        raise DataError(f"No permission to list the folder {folder}.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"The folder {folder} cannot be listed ({error}).") from error
    is_system = is_system_folder if folders else is_system_file
    named = (name for name, is_folder in entries if is_folder == folders)
    return sorted(name for name in named if not is_system(name))


def image_names(folder: Path) -> list[str]:
    """Lists the images that are directly in a folder, sorted by name."""
    return [name for name in visible(folder, folders=False) if is_image(name)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Links are followed; one that leads in a circle is no folder."""
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def _report(splits: Splits) -> None:
    counts = f"{len(splits.train)} train, {len(splits.val)} val and {len(splits.test)} test images"
    warn_once(
        log,
        f"CoOp's split file is missing: built {counts} as CoOp does, with the fixed seed "
        f"{SPLIT_SEED}. Accuracies are not comparable with published ones.",
    )
