"""The embedded real task: scikit-learn's handwritten digits, 1797 images of 8 x 8 pixels."""

from __future__ import annotations

import random

import numpy as np
from sklearn.datasets import load_digits

from dpl_jax.data.split import Dataset, Item, build_dataset
from dpl_jax.data.templates import TEMPLATES

CLASSNAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPLIT_SEED = 0  # fixed: the test images are the same whatever the seed of a run
TRAIN_SHARE, VAL_SHARE = 0.5, 0.2  # of every class; the other 30 % are test
BRIGHTEST = 16  # scikit-learn stores intensities 0..16


def read_digits(template: str = "") -> Dataset:
    """Returns the digits as white strokes on black, (8, 8, 3) uint8, split once and for all.

    Every class is shuffled with a fixed seed and cut into 50 % train, 20 % validation and 30 %
    test: 898, 359 and 540 images. The images are named by their place in scikit-learn's array.
    """
    source = load_digits()
    stream = random.Random(SPLIT_SEED)
    parts: tuple[list[Item], list[Item], list[Item]] = ([], [], [])
    for label in range(len(CLASSNAMES)):
        indices = [int(i) for i in np.flatnonzero(source.target == label)]
        stream.shuffle(indices)
        train = round(len(indices) * TRAIN_SHARE)
        val = train + round(len(indices) * VAL_SHARE)
        for part, chosen in zip(
            parts, (indices[:train], indices[train:val], indices[val:]), strict=True
        ):
            part += [_item(source.images[i], i, label) for i in chosen]
    return build_dataset(
        "digits",
        train=parts[0],
        val=parts[1],
        test=parts[2],
        template=template or TEMPLATES["digits"],
        split=f"50/20/30 % of every class, drawn with the fixed seed {SPLIT_SEED}",
    )


def _item(intensities: np.ndarray, index: int, label: int) -> Item:
    """Turns one (8, 8) array of intensities 0..16 into a labelled grey RGB image."""
    grey = np.round(intensities * (255 / BRIGHTEST)).astype(np.uint8)  # (8, 8)
    image = np.repeat(grey[:, :, None], 3, axis=2)  # (8, 8, 3)
    return Item(image, label, CLASSNAMES[label], f"digits/{index:04d}")
