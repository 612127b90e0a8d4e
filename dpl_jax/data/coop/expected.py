"""Sizes of the complete datasets, as CoOp and the datasets' own pages give them."""

from __future__ import annotations

from typing import NamedTuple


class Sizes(NamedTuple):
    """Number of classes, and of images in each split."""

    classes: int
    train: int
    val: int
    test: int


EXPECTED = {
    "digits": Sizes(10, 898, 359, 540),
    "caltech101": Sizes(100, 4128, 1649, 2465),
    "oxford_pets": Sizes(37, 2944, 736, 3669),
    "stanford_cars": Sizes(196, 6509, 1635, 8041),
    "oxford_flowers": Sizes(102, 4093, 1633, 2463),
    "food101": Sizes(101, 50500, 20200, 30300),
    "fgvc_aircraft": Sizes(100, 3334, 3333, 3333),
    "sun397": Sizes(397, 15880, 3970, 19850),
    "dtd": Sizes(47, 2820, 1128, 1692),
    "eurosat": Sizes(10, 13500, 5400, 8100),
    "ucf101": Sizes(101, 7639, 1898, 3783),
    "imagenet": Sizes(1000, 1281167, 0, 50000),
    "imagenetv2": Sizes(1000, 0, 0, 10000),
    "imagenet_sketch": Sizes(1000, 0, 0, 50889),
    "imagenet_a": Sizes(200, 0, 0, 7500),
    "imagenet_r": Sizes(200, 0, 0, 30000),
}
