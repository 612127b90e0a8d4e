"""Canvases: decoded images of one size, from which the train transform crops."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image

from dpl_jax.data.cache import Arrays, cache_key, cached
from dpl_jax.data.decode import read_all
from dpl_jax.data.images import MAX_PIXELS, Reading, read_image
from dpl_jax.data.split import Item

TRANSFORM_VERSION = 2  # part of the cache's key: raise it when a canvas would look different


@dataclasses.dataclass(frozen=True)
class Canvases:
    """Decoded images.

    Attributes:
        images: (n, S, S, 3) uint8, each in the top left corner of its canvas, the rest black.
        sizes: (n, 2) int32, height and width of each image on its canvas, in pixels.
        labels: (n,) int32.
    """

    images: np.ndarray
    sizes: np.ndarray
    labels: np.ndarray


def canvas_side(canvas_size: int, model_size: int) -> int:
    """Returns ``canvas_size``, or where it is 0 twice the model's input."""
    return canvas_size or 2 * model_size


def canvas_megabytes(count: int, side: int) -> float:
    """Returns the size of ``count`` canvases in MB (10**6 bytes)."""
    return count * side * side * 3 / 1e6


def load_canvases(
    items: Sequence[Item],
    side: int,
    reading: Reading = Reading(),
    *,
    cache_dir: str = "",
) -> Canvases:
    """Decodes the items on several threads, or maps what an earlier run left in the cache.

    Args:
        side: of the canvases, in pixels.
        cache_dir: "" for no cache.

    Raises:
        UnreadableImageError: an image cannot be read and ``reading.skip_unreadable`` is off.
        DataError: no image is left.
    """
    shapes = {
        "images": ((len(items), side, side, 3), np.uint8),
        "sizes": ((len(items), 2), np.int32),
        "kept": ((len(items),), np.bool_),
    }

    def fill(arrays: Arrays) -> None:
        def read(index: int) -> None:
            canvas, size = read_canvas(items[index], side, max_pixels=reading.max_pixels)
            arrays["images"][index], arrays["sizes"][index] = canvas, size

        arrays["kept"][:] = read_all(read, len(items), reading)

    make_key = functools.partial(
        cache_key,
        items,
        f"canvas {TRANSFORM_VERSION} {side} {reading.max_pixels} {reading.skip_unreadable}",
    )
    arrays = cached(Path(cache_dir) if cache_dir else None, make_key, shapes, fill)
    labels, kept = np.asarray([item.label for item in items], np.int32), arrays["kept"]
    if kept.all():
        return Canvases(arrays["images"], arrays["sizes"], labels)
    return Canvases(arrays["images"][kept], arrays["sizes"][kept], labels[kept])


def read_canvas(
    item: Item, side: int, *, max_pixels: int = MAX_PIXELS
) -> tuple[np.ndarray, tuple[int, int]]:
    """Decodes one item onto a canvas; only an image larger than the canvas is shrunk.

    Returns:
        (side, side, 3) uint8, and the image's height and width on it.

    Raises:
        UnreadableImageError: the image cannot be read.
    """
    image = fit(read_image(item, max_pixels=max_pixels, at_least=side), side)
    canvas = np.zeros((side, side, 3), np.uint8)
    canvas[: image.height, : image.width] = np.asarray(image)
    return canvas, (image.height, image.width)


def fit(image: PIL.Image.Image, side: int) -> PIL.Image.Image:
    """Shrinks an image so that its long side has ``side`` pixels; smaller images stay."""
    longest = max(image.size)
    if longest <= side:
        return image
    width, height = (max(round(pixels * side / longest), 1) for pixels in image.size)
    return image.resize((width, height), PIL.Image.Resampling.BICUBIC)
