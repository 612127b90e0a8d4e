"""Random folder trees as people and tools leave them, and what must hold for every one.

    python -m tests.data.trees --trees=20000 --seed=1 --folder=/dev/shm/trees

makes that many, reads each of them twice, the second time with the entries of every folder in
another order, and prints how many gave a dataset and how many an error.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import logging
import os
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from dpl_jax.data.folder import read_folder
from dpl_jax.data.split import Dataset
from dpl_jax.errors import DataError

TRAIN = ("train", "Train", "TRAIN", "training", "Training")
VAL = ("val", "Val", "valid", "validation", "dev")
TEST = ("test", "Test", "TEST", "testing", "Testing")
CLASSES = ("cat", "dog", "bus", "sea_lion", "Ente", "ünïcode 🐟", "a b", "3", "x.jpg", "train car")
ODD = ("\n", "b\udcff", "-r", "%s", "{}", "'", "\\", "CAT", "~", "$HOME")
OTHER = ("docs", ".git", ".cache", "thumbs", "new", "__MACOSX", "masks", "fold1")
IMAGES = ("{}.jpg", "{}.JPG", "{}.png", "{}.webp", "IMG {}.jpeg", "{}.tif")
FILES = ("notes.txt", "Thumbs.db", ".DS_Store", "train", "test", "README", "a.csv", "x", "._1.jpg")


def grow(root: Path, stream: random.Random) -> None:
    """Makes one random tree: a layout that people use, then some changes that break it."""
    base = root
    root.mkdir(parents=True)
    for _ in range(stream.choice((0, 0, 0, 0, 1, 2, 6))):
        base = base / stream.choice(("set", "data", "photos", *OTHER))
    classes = stream.sample(CLASSES, stream.choice((1, 2, 2, 3, 4)))
    if stream.random() < 0.15:
        classes.append(stream.choice((*TRAIN, *VAL, *TEST, *ODD)))
    kind = stream.choice(("classes", "classes", "splits", "splits", "splits", "deep", "flat"))
    if kind == "splits":
        parts = [stream.choice(TRAIN), stream.choice(TEST), stream.choice(VAL)]
        parts = [part for part in parts if stream.random() < 0.85]
        inner = stream.choice(("", "", "", "", "data", "train"))
        folders = [base / part / inner / name for part in parts for name in classes]
    elif kind == "deep":
        folders = [base / stream.choice(CLASSES[:2]) / name for name in classes]
    else:
        folders = [base / name for name in classes] if kind == "classes" else [base]
    for folder in folders:
        _fill(folder, stream, stream.choice((4, 5, 8)))
    for _ in range(stream.choice((0, 0, 0, 1, 1, 2, 3))):
        with contextlib.suppress(OSError):  # such as a folder where a file is
            _change(root, stream)


def _fill(folder: Path, stream: random.Random, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    form = stream.choice(IMAGES)
    for index in range(count):
        (folder / form.format(index)).touch()


def _change(root: Path, stream: random.Random) -> None:
    """Adds, renames or removes something somewhere."""
    folders = [root, *(p for p in root.rglob("*") if p.is_dir() and not p.is_symlink())]
    here, there = stream.choice(folders), stream.choice(folders)
    names = (*TRAIN, *VAL, *TEST, *CLASSES, *ODD, *OTHER)
    match stream.randrange(9):
        case 0:
            _fill(here / stream.choice(names), stream, stream.choice((0, 1, 3, 6)))
        case 1:
            _fill(here, stream, stream.choice((1, 2)))
        case 2:
            (here / stream.choice(FILES)).touch()
        case 3 if here != root:
            here.rename(here.parent / stream.choice(names))
        case 4 if here != root:
            shutil.rmtree(here)
        case 5:
            (here / stream.choice(names)).symlink_to(there)
        case 6:
            files = [p for p in there.iterdir() if not p.is_dir()]
            (here / "link.jpg").symlink_to(stream.choice(files) if files else "gone")
        case 7:
            for path in [p for p in here.iterdir() if not p.is_dir()][::2]:
                path.unlink()
        case 8:
            text = stream.choice(('{"cat": "tabby"}', "{", "[]", '{"cat": "dog"}', '{"gone": "x"}'))
            (here / "classnames.json").write_text(text)


def attempt(root: Path) -> Dataset | DataError:
    """The dataset, or the one error that is allowed."""
    try:
        return read_folder(str(root))
    except DataError as error:
        return error


def check_tree(root: Path, stream: random.Random) -> str:
    """Reads a tree and checks what must hold; returns "dataset", or the start of the error.

    Raises:
        AssertionError: it does not hold.
    """
    found = attempt(root)
    with other_order(stream):
        again = attempt(root)
    if isinstance(found, DataError):
        assert str(root) in str(found), f"names no path: {found}"
        assert str(again) == str(found), f"another order, another error: {again}"
        return "error"
    assert again == found, "another order, another dataset"
    check_dataset(root, found)
    return "split here" if found.split_built else "given splits"


def check_dataset(root: Path, dataset: Dataset) -> None:
    """What holds for every dataset that a tree gives."""
    splits = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    items = [item for split in splits.values() for item in split]
    assert len({item.name for item in items}) == len(items), "an image twice"
    real = [{os.path.realpath(item.image) for item in split} for split in splits.values()]
    assert len(set.union(*real)) == sum(map(len, real)), "a file in two splits"
    for item in items:
        assert os.path.lexists(item.image), "no such file"
        assert Path(item.image) == root / item.name, "a name that does not lead there"
        assert not item.name.rpartition("/")[2].startswith("."), "a hidden file"
        assert dataset.classnames[item.label] == item.classname, "label and class name differ"
    folders = {item.name.split("/")[-2]: item.label for item in items}
    assert all(folders[item.name.split("/")[-2]] == item.label for item in items), "two labels"
    assert len(dataset.classnames) > 1, "a single class"
    assert len(set(folders.values())) == len(dataset.classnames)
    labels = {split: {item.label for item in part} for split, part in splits.items()}
    assert labels["train"] == set(range(len(dataset.classnames))), "a class without train images"
    assert labels["test"], "no test images"
    if dataset.split_built:
        assert labels["train"] == labels["val"] == labels["test"]
        places = {item.name.rpartition("/")[0] for item in items}
        assert len({place.rpartition("/")[0] for place in places}) == 1, "classes at two depths"
        images = [f for p in places for f in os.scandir(root / p) if f.name.lower()[-4:] == ".jpg"]
        kept = [f for f in images if not f.name.startswith(".") and not f.is_dir()]
        assert len(kept) == sum(item.name.lower().endswith(".jpg") for item in items), "left out"
    else:
        words = {"train": TRAIN, "val": VAL, "test": (*TEST, *VAL)}
        for split, part in splits.items():
            places = {item.name.rsplit("/", 2)[0] for item in part}
            assert len(places) <= 1, "two folders for one split"
            for place in places:
                assert any(word in words[split] for word in place.split("/")), "another split"


@contextlib.contextmanager
def other_order(stream: random.Random) -> Iterator[None]:
    """Shuffles what ``os.scandir`` gives."""
    scandir = os.scandir

    @contextlib.contextmanager
    def shuffled(folder: str) -> Iterator[Iterator[os.DirEntry[str]]]:
        with scandir(folder) as found:
            entries = list(found)
        stream.shuffle(entries)
        yield iter(entries)

    os.scandir = shuffled  # type: ignore[assignment]
    try:
        yield
    finally:
        os.scandir = scandir


def check_trees(folder: Path, trees: int, seed: int) -> collections.Counter[str]:
    """Makes and checks so many trees; returns how many ended how.

    Raises:
        AssertionError: naming the seed of the tree, which is left there.
    """
    counts: collections.Counter[str] = collections.Counter()
    for number in range(trees):
        stream, root = random.Random(f"{seed}-{number}"), folder / f"{seed}-{number}"
        grow(root, stream)
        try:
            counts[check_tree(root, stream)] += 1
        except Exception as error:
            raise AssertionError(f"tree {root}: {error!r}") from error
        shutil.rmtree(root)
    return counts


def main() -> None:
    """Checks trees by hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trees", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, required=True)
    flags = parser.parse_args()
    logging.disable(logging.WARNING)
    print(dict(check_trees(flags.folder, flags.trees, flags.seed)), file=sys.stdout)


if __name__ == "__main__":
    main()
