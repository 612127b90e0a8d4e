"""Turning a list of items into one array, for sets that fit in memory."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from dpl_jax.clip.preprocessing import Preprocessing
from dpl_jax.data.images import Reading, read_image
from dpl_jax.data.split import Item
from dpl_jax.data.transforms import resize_and_crop
from dpl_jax.errors import DataError, UnreadableImageError
from dpl_jax.files import limits

log = logging.getLogger(__name__)


def decode(
    items: Sequence[Item],
    preprocessing: Preprocessing,
    reading: Reading = Reading(),
) -> tuple[np.ndarray, np.ndarray]:
    """Reads the items and applies the test transform, on several threads.

    Returns:
        images (n, crop, crop, 3) uint8 and labels (n,) int32, in the order of the items;
        n is smaller than their number only where unreadable images are skipped.

    Raises:
        UnreadableImageError: an image cannot be read and ``reading.skip_unreadable`` is off.
        DataError: no image is left.
    """
    side = preprocessing.crop
    images = np.empty((len(items), side, side, 3), np.uint8)

    def read(index: int) -> None:
        image = read_image(items[index], max_pixels=reading.max_pixels)
        images[index] = resize_and_crop(image, preprocessing)

    kept = read_all(read, len(items), reading)
    labels = np.asarray([item.label for item in items], np.int32)
    return (images, labels) if kept.all() else (images[kept], labels[kept])


def read_all(read: Callable[[int], None], count: int, reading: Reading) -> np.ndarray:
    """Calls ``read`` with 0..count-1 on threads (Pillow decodes and resizes without the GIL).

    Returns:
        (count,) bool: which images could be read; the others are counted in one warning.

    Raises:
        UnreadableImageError: an image cannot be read and ``reading.skip_unreadable`` is off.
        DataError: none could be read.
    """
    kept = np.ones(count, bool)
    reasons: list[str] = []

    def attempt(index: int) -> None:
        try:
            read(index)
        except UnreadableImageError as error:
            if not reading.skip_unreadable:
                raise
            kept[index] = False
            reasons.append(str(error))

    with ThreadPoolExecutor(thread_count(reading.workers)) as pool:
        try:
            for _ in pool.map(attempt, range(count)):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    warn_unreadable(reasons)
    if not kept.any():
        raise DataError("No readable image is left; run `python -m dpl_jax.data check`.")
    return kept


def warn_unreadable(reasons: Sequence[str]) -> None:
    """Reports skipped images: how many, and why the first was."""
    if reasons:
        log.warning("%d unreadable image(s) were left out, such as: %s", len(reasons), reasons[0])


def thread_count(workers: int) -> int:
    """Returns ``workers``, or where it is 0 one a CPU core, at most 16."""
    return min(workers, limits.IMAGE_THREADS) or min(os.cpu_count() or 1, 16)
