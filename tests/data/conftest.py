"""Small images and datasets that the tests of the data make for themselves."""

import io
import json
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from dpl_jax import config
from dpl_jax.data.split import Item


def smooth_image(height, width, seed=0):
    """An RGB image that a JPEG and a resize change little: a random 4 x 4 image, blown up."""
    levels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return PIL.Image.fromarray(levels).resize((width, height), PIL.Image.Resampling.BICUBIC)


@pytest.fixture
def write_image():
    """Writes a small image, of a colour that depends on the path's name, and returns the path."""

    def write(path: Path, size=(9, 8)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = tuple(zlib.crc32(path.name.encode()).to_bytes(4, "big")[:3])
        PIL.Image.new("RGB", size, colour).save(path)
        return path

    return write


@pytest.fixture
def make_items():
    """Makes ``counts[label]`` items of each label, interleaved, with arrays for images."""

    def make(counts, prefix="train", classnames=None):
        blank = np.zeros((4, 4, 3), np.uint8)
        items = [
            Item(
                blank,
                label,
                (classnames or {}).get(label, f"class {label}"),
                f"{prefix}/{label}/{i}",
            )
            for label, count in counts.items()
            for i in range(count)
        ]
        return sorted(items, key=lambda item: int(item.name.rpartition("/")[2]))

    return make


@pytest.fixture
def data_config():
    """Makes ``config.data`` with some fields replaced."""

    def make(**fields):
        data = config.get_config().data
        data.update(fields)
        return data

    return make


@pytest.fixture
def write_split():
    """Writes a CoOp split file from {"train": [(path, label, class name), ..], ..}."""

    def write(path: Path, **splits) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"train": [], "val": [], "test": []} | splits))
        return path

    return write


@pytest.fixture
def encoded():
    """Returns the bytes of a smooth image in a format."""

    def encode(image_format, height=12, width=10):
        buffer = io.BytesIO()
        smooth_image(height, width).save(buffer, image_format)
        return buffer.getvalue()

    return encode


@pytest.fixture(name="smooth_image")
def smooth_image_fixture():
    return smooth_image
