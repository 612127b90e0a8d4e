"""Image folders of one's own: ``root/{train,val,test}/<class>/*`` or ``root/<class>/*``."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from dpl_jax.data.coop.build_split import SPLIT_SEED, Splits, split_classes, visible
from dpl_jax.data.errors import DataError, DataNotFoundError
from dpl_jax.data.images import SUFFIXES
from dpl_jax.data.split import Dataset, Item, build_dataset
from dpl_jax.data.templates import TEMPLATES
from dpl_jax.json_files import read_json

CLASSNAMES_FILE = "classnames.json"  # {"folder": "class name"}, for the folders it names
VALIDATION_FOLDERS = ("val", "valid", "validation")
log = logging.getLogger(__name__)


def read_folder(root: str) -> Dataset:
    """Lists a tree of class folders; labels follow the sorted folder names.

    With a ``train`` folder in the root, its siblings ``val`` and ``test`` are taken as they are;
    with ``val`` alone, its images are the test set and validation images are held out of the
    few-shot sample. Otherwise every folder is a class and is split 50/20/30, with a fixed seed.

    Raises:
        DataNotFoundError: there is no such folder, or nothing in it to list.
        DataError: an empty class, two classes of one name, or a damaged ``classnames.json``.
    """
    if not root:
        raise DataError("Say where your images are: --config.data.root=DIR (docs/datasets.md).")
    base = Path(root).expanduser()
    if not base.is_dir():
        raise DataNotFoundError(f"There is no folder {base}; set --config.data.root.")
    present = visible(base, folders=True)
    if "train" in present:
        splits, origin = _read_given_splits(base, present), "the folder's own train, val and test"
        built = False
    elif "test" in present:
        raise DataNotFoundError(f"{base} has a test folder but no train folder.")
    else:
        splits = _split_classes(base, present)
        origin, built = f"50/20/30 % of every class, drawn with the fixed seed {SPLIT_SEED}", True
    return build_dataset(
        "folder",
        train=splits.train,
        val=splits.val,
        test=splits.test,
        template=TEMPLATES["folder"],
        split=origin,
        split_built=built,
    )


def read_classnames(base: Path, folders: Sequence[str]) -> dict[str, str]:
    """Returns {folder: class name}: the folder's name, or what ``classnames.json`` says.

    Raises:
        DataError: the file is no such mapping, or names a folder that is not there.
    """
    path = base / CLASSNAMES_FILE
    if not path.is_file():
        return {folder: folder for folder in folders}
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
    return {folder: given.get(folder, folder) for folder in folders}


def _read_given_splits(base: Path, present: Sequence[str]) -> Splits:
    """Reads ``train``, ``val`` and ``test`` folders; classes are those of ``train``."""
    folders = visible(base / "train", folders=True)
    names = read_classnames(base, folders)
    val = next((name for name in VALIDATION_FOLDERS if name in present), "")
    test = "test" if "test" in present else val
    if not test:
        raise DataNotFoundError(f"{base} has a train folder but no test folder (or val folder).")
    if test == val:
        log.warning("%s has no test folder: the images of %s are the test set.", base, val)
        val = ""
    return Splits(
        _list_split(base, "train", names),
        _list_split(base, val, names) if val else [],
        _list_split(base, test, names),
    )


def _list_split(base: Path, split: str, names: Mapping[str, str]) -> list[Item]:
    """Lists one split folder.

    Raises:
        DataError: a class that is not in ``train``, or without images.
    """
    unknown = sorted(set(visible(base / split, folders=True)) - set(names))
    if unknown:
        raise DataError(
            f"{base / split / unknown[0]}: this class has no folder in {base / 'train'}; every "
            "class needs training images."
        )
    present = visible(base / split, folders=True)
    labels = {folder: label for label, folder in enumerate(names)}
    return [
        item
        for folder in present
        for item in _list_class(base, f"{split}/{folder}", labels[folder], names[folder])
    ]


def _split_classes(base: Path, folders: Sequence[str]) -> Splits:
    if not folders:
        raise DataNotFoundError(f"{base} has no class folders (root/<class>/* or root/train/...).")
    names = read_classnames(base, folders)
    classes = [_list_class(base, f, label, names[f]) for label, f in enumerate(folders)]
    return split_classes(classes, random.Random(SPLIT_SEED))


def _list_class(base: Path, folder: str, label: int, classname: str) -> list[Item]:
    """Lists the images of one class folder; other files in it are left alone.

    Raises:
        DataError: there are none.
    """
    files = [f for f in visible(base / folder, folders=False) if f.lower().endswith(SUFFIXES)]
    if not files:
        raise DataError(
            f"The class folder {base / folder} has no images ({', '.join(SUFFIXES)}); add some or "
            "remove the folder."
        )
    return [Item(base / folder / f, label, classname, f"{folder}/{f}") for f in files]
