"""Turning a list of items into one array, for sets that fit in memory."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from dpl_jax.data.errors import DataError, UnreadableImageError
from dpl_jax.data.images import MAX_PIXELS, read_image
from dpl_jax.data.split import Item
from dpl_jax.data.transforms import Preprocessing, resize_and_crop

log = logging.getLogger(__name__)


def decode(
    items: Sequence[Item],
    preprocessing: Preprocessing,
    *,
    skip_unreadable: bool = False,
    max_pixels: int = MAX_PIXELS,
    workers: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Reads the items and applies the test transform, on several threads.

    Returns:
        images (n, crop, crop, 3) uint8 and labels (n,) int32, in the order of the items;
        n is smaller than their number only where unreadable images are skipped.

    Raises:
        UnreadableImageError: an image cannot be read and ``skip_unreadable`` is off.
        DataError: no image is left.
    """

    def read(item: Item) -> np.ndarray:
        return resize_and_crop(read_image(item, max_pixels=max_pixels), preprocessing)

    rows = read_all(items, read, skip_unreadable=skip_unreadable, workers=workers)
    kept = [
        (image, item.label) for image, item in zip(rows, items, strict=True) if image is not None
    ]
    if not kept:
        raise DataError(
            "No readable image is left; check data.root with `python -m dpl_jax.data check`."
        )
    images, labels = zip(*kept, strict=True)
    return np.stack(images), np.asarray(labels, np.int32)  # (n, crop, crop, 3), (n,)


def read_all(
    items: Sequence[Item],
    read: Callable[[Item], np.ndarray],
    *,
    skip_unreadable: bool,
    workers: int = 0,
) -> list[np.ndarray | None]:
    """Applies ``read`` to every item on threads (Pillow decodes and resizes without the GIL).

    Returns:
        One array an item, in their order; None for a skipped one, all of which are counted in
        one warning.

    Raises:
        UnreadableImageError: an image cannot be read and ``skip_unreadable`` is off.
    """
    reasons: list[str] = []

    def attempt(item: Item) -> np.ndarray | None:
        try:
            return read(item)
        except UnreadableImageError as error:
            if not skip_unreadable:
                raise
            reasons.append(str(error))
            return None

    with ThreadPoolExecutor(thread_count(workers)) as pool:
        try:
            arrays = list(pool.map(attempt, items))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    if reasons:
        log.warning("%d unreadable images were left out, such as: %s", len(reasons), reasons[0])
    return arrays


def thread_count(workers: int) -> int:
    """Returns ``workers``, or where it is 0 one a CPU core, at most 16."""
    return workers or min(os.cpu_count() or 1, 16)
