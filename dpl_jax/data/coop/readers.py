"""Readers of the annotation files that the datasets themselves come with."""

from __future__ import annotations

import contextlib
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from dpl_jax.data.coop.build_split import SPLIT_SEED, Splits, split_classes, split_train
from dpl_jax.data.coop.matlab import read_row
from dpl_jax.data.split import Item
from dpl_jax.errors import DataError, DataNotFoundError
from dpl_jax.files import text as text_files
from dpl_jax.files.json import parse_json

# CoOp's class names where they differ from the folders'.
CALTECH_IGNORED = ("BACKGROUND_Google", "Faces_easy")
CALTECH_NAMES = {
    "airplanes": "airplane",
    "Faces": "face",
    "Leopards": "leopard",
    "Motorbikes": "motorbike",
}
EUROSAT_NAMES = {
    "AnnualCrop": "Annual Crop Land",
    "HerbaceousVegetation": "Herbaceous Vegetation Land",
    "Highway": "Highway or Road",
    "Industrial": "Industrial Buildings",
    "Pasture": "Pasture Land",
    "PermanentCrop": "Permanent Crop Land",
    "Residential": "Residential Buildings",
    "SeaLake": "Sea or Lake",
}
T = TypeVar("T")


def read_pets(folder: Path, images: Path) -> Splits:
    """OxfordPets: ``annotations/{trainval,test}.txt``, lines "Abyssinian_100 1 1 1"."""

    def parse(line: str) -> Item:
        name, label, _, _ = line.split(" ")
        breed = name.rpartition("_")[0].lower()
        return Item(images / f"{name}.jpg", int(label) - 1, breed, f"{name}.jpg")

    lists = [read_lines(folder / "annotations" / f"{s}.txt", parse) for s in ("trainval", "test")]
    return split_train(*lists)


def read_cars(folder: Path) -> Splits:
    """StanfordCars: MATLAB annotations; "Audi S4 Sedan 2012" is named "2012 Audi S4 Sedan"."""
    meta = read_row(folder / "devkit" / "cars_meta.mat", "class_names")
    with _understood(folder):
        spellings = [str(name) for name in meta]

    def read(images: str, annotations: Path) -> list[Item]:
        items = []
        for row in read_row(annotations, "annotations"):
            with _understood(folder):
                label, name = int(row["class"][0]) - 1, f"{images}/{row['fname']}"
                model, _, year = dict(enumerate(spellings))[label].rpartition(" ")
            items.append(Item(folder / name, label, f"{year} {model}", name))
        return items

    return split_train(
        read("cars_train", folder / "devkit" / "cars_train_annos.mat"),
        read("cars_test", folder / "cars_test_annos_withlabels.mat"),
    )


def read_flowers(folder: Path, images: Path) -> Splits:
    """OxfordFlowers: ``imagelabels.mat`` and the names in ``cat_to_name.json``, both from 1."""
    names = read_text(folder / "cat_to_name.json", parse_json)
    classes: dict[int, list[Item]] = {}
    for number, value in enumerate(read_row(folder / "imagelabels.mat", "labels"), start=1):
        with _understood(folder):
            label, name = int(value), f"image_{number:05d}.jpg"
            item = Item(images / name, label - 1, str(names[str(label)]), name)
        classes.setdefault(label, []).append(item)
    return split_classes(list(classes.values()), random.Random(SPLIT_SEED))


def read_aircraft(folder: Path, images: Path) -> Splits:
    """FGVCAircraft: ``images_variant_{train,val,test}.txt``, lines "1025794 707-320"."""
    variants = read_lines(folder / "variants.txt", str)
    labels = {variant: label for label, variant in enumerate(variants)}

    def parse(line: str) -> Item:
        number, _, variant = line.partition(" ")
        return Item(images / f"{number}.jpg", labels[variant], variant, f"{number}.jpg")

    lists = (
        read_lines(folder / f"images_variant_{split}.txt", parse)
        for split in ("train", "val", "test")
    )
    return Splits(*lists)


def read_sun(folder: Path, images: Path) -> Splits:
    """SUN397: lines "/c/church/outdoor/sun_x.jpg", a class named "outdoor church"."""
    classes = read_lines(folder / "ClassName.txt", lambda line: line[1:])
    labels = {name: label for label, name in enumerate(classes)}

    def parse(line: str) -> Item:
        name = line[1:]
        path = name.rpartition("/")[0]
        words = path.split("/")[1:]  # the first part is the initial letter
        return Item(images / name, labels[path], " ".join(reversed(words)), name)

    lists = [read_lines(folder / f"{s}_01.txt", parse) for s in ("Training", "Testing")]
    return split_train(*lists)


def read_ucf(folder: Path, images: Path) -> Splits:
    """UCF101: lines "ApplyEyeMakeup/v_x.avi 1", the frame in ``Apply_Eye_Makeup/v_x.jpg``."""
    lists = folder / "ucfTrainTestlist"

    def parse_class(line: str) -> tuple[str, int]:
        number, action = line.split(" ")
        return action, int(number) - 1

    labels = dict(read_lines(lists / "classInd.txt", parse_class))

    def parse(line: str) -> Item:
        action, _, video = line.split(" ")[0].partition("/")
        classname = "_".join(re.findall("[A-Z][^A-Z]*", action))
        name = f"{classname}/{video.replace('.avi', '.jpg')}"
        return Item(images / name, labels[action], classname, name)

    return split_train(
        read_lines(lists / "trainlist01.txt", parse), read_lines(lists / "testlist01.txt", parse)
    )


def read_lines(path: Path, parse: Callable[[str], T]) -> list[T]:
    """Parses every line that is not empty.

    Raises:
        DataNotFoundError: there is no such file.
        DataError: a line that cannot be understood, with its number.
    """
    parsed = []
    for number, line in enumerate(read_text(path, str.splitlines), start=1):
        if not line.strip():
            continue
        try:
            parsed.append(parse(line.strip()))
        except (ValueError, KeyError, IndexError) as error:
            raise DataError(
                f"{path}, line {number}: {line.strip()!r} makes no sense here."
            ) from error
    return parsed


def read_text(path: Path, parse: Callable[[str], T]) -> T:
    """Reads and parses a text file.

    Raises:
        DataNotFoundError: there is no such file.
        DataError: it cannot be read or parsed.
    """
    try:
        return parse(text_files.read_text(path))
    except FileNotFoundError as error:
        raise DataNotFoundError(
            f"There is no {path}. Without CoOp's split file the dataset's own annotations are "
            "needed: see docs/datasets.md."
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); get it again.") from error


@contextlib.contextmanager
def _understood(folder: Path) -> Iterator[None]:
    """Values of other types than the annotations have, and numbers of classes that are none."""
    try:
        yield
    except (ValueError, LookupError, TypeError, OverflowError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"The annotations in {folder} make no sense ({error!r:.200}).") from error
