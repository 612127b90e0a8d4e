"""Readers of split files and of the annotations that datasets come with."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.io import savemat

from dpl_jax.data.coop.imagenet import read_classnames
from dpl_jax.data.coop.readers import (
    read_aircraft,
    read_cars,
    read_flowers,
    read_pets,
    read_sun,
    read_ucf,
)
from dpl_jax.data.coop.split_file import read_split
from tests.hostile.target import Target, as_json, in_file

PARTS = ("train", "val", "test")


def annotation_targets(scratch: Path) -> list[Target]:
    split = scratch / "split.json"
    rows = {part: [[f"{part}/1.jpg", 0, "ant"], [f"{part}/2.jpg", 1, "bee"]] for part in PARTS}
    imagenet = scratch / "imagenet" / "classnames.txt"
    pets = b"".join(f"Abyssinian_{n} 1 1 1\n".encode() for n in range(5))
    return [
        Target(
            "split file", in_file(split, lambda: read_split(split, scratch)), as_json(rows), True
        ),
        Target(
            "classnames.txt",
            in_file(imagenet, lambda: read_classnames(imagenet.parent)),
            [b"n01440764 tench\nn01443537 goldfish\n"],
            share=5,
        ),
        _list_target(scratch / "pets", "annotations/{}.txt", ("trainval", "test"), pets, read_pets),
        _list_target(
            scratch / "air",
            "{}.txt",
            ("variants", *(f"images_variant_{part}" for part in PARTS)),
            b"707-320\n1 707-320\n",
            read_aircraft,
        ),
        _list_target(
            scratch / "sun",
            "{}.txt",
            ("ClassName", "Training_01", "Testing_01"),
            b"/a/abbey\n/a/abbey/1.jpg\n/a/abbey/2.jpg\n/a/abbey/3.jpg\n",
            read_sun,
        ),
        _list_target(
            scratch / "ucf",
            "ucfTrainTestlist/{}.txt",
            ("classInd", "trainlist01", "testlist01"),
            b"1 ApplyEyeMakeup\nApplyEyeMakeup/v_1.avi 1\n",
            read_ucf,
        ),
        *_matlab_targets(scratch),
    ]


def _list_target(
    folder: Path, pattern: str, names: tuple[str, ...], seed: bytes, read: Callable
) -> Target:
    """A reader of several lists, each of which gets the same contents."""
    paths = [folder / pattern.format(name) for name in names]
    paths[0].parent.mkdir(parents=True)

    def parse(contents: bytes) -> object:
        for path in paths:
            path.write_bytes(contents)
        return read(folder, folder)

    return Target(folder.name, parse, [seed], share=5)


def _matlab_targets(scratch: Path) -> list[Target]:
    flowers, cars = scratch / "flowers", scratch / "cars"
    (cars / "devkit").mkdir(parents=True)
    flowers.mkdir()
    (flowers / "cat_to_name.json").write_text(json.dumps({"1": "rose", "2": "tulip"}))
    labels, meta, rows = io.BytesIO(), io.BytesIO(), io.BytesIO()
    savemat(labels, {"labels": np.array([[1] * 5 + [2] * 5])}, do_compression=True)
    names = np.array([["Audi S4 Sedan 2012"]], object)
    savemat(meta, {"class_names": names}, do_compression=True)
    row = np.zeros((1, 5), [("class", object), ("fname", object)])
    for number in range(5):
        row[0, number] = (np.array([[1]]), f"{number}.jpg")
    savemat(rows, {"annotations": row}, do_compression=True)
    (cars / "devkit" / "cars_meta.mat").write_bytes(meta.getvalue())
    annotations = [
        cars / "devkit" / "cars_train_annos.mat",
        cars / "cars_test_annos_withlabels.mat",
    ]

    def parse_cars(contents: bytes) -> object:
        for path in annotations:
            path.write_bytes(contents)
        return read_cars(cars)

    path = flowers / "imagelabels.mat"
    plain = io.BytesIO()
    savemat(plain, {"labels": np.array([[1] * 5 + [2] * 5])})
    return [
        Target(
            "flowers.mat",
            in_file(path, lambda: read_flowers(flowers, flowers)),
            [labels.getvalue(), plain.getvalue()],
            share=5,
        ),
        Target("cars.mat", parse_cars, [rows.getvalue()], share=5),
    ]
