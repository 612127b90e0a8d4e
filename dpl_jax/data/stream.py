"""Batches fed from the host: read in parallel, ahead of use, never more than a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from dpl_jax.clip.preprocessing import Preprocessing
from dpl_jax.data.canvases import Canvases, read_canvas
from dpl_jax.data.decode import thread_count, warn_unreadable
from dpl_jax.data.images import Reading, read_image
from dpl_jax.data.split import Item
from dpl_jax.data.transforms import resize_and_crop
from dpl_jax.errors import DataError, UnreadableImageError

PREFETCHED_BATCHES = 2


class Batch(NamedTuple):
    """Images to evaluate; every batch has the same shape, so that one program serves all.

    Attributes:
        images: (B, H, W, 3) uint8.
        labels: (B,) int32.
        weights: (B,) float32: 1, or 0 for an unreadable image or the padding of the last batch.
    """

    images: np.ndarray
    labels: np.ndarray
    weights: np.ndarray


class CanvasBatch(NamedTuple):
    """Training images for ``dpl_jax.data.augment.random_crop_flip``.

    Attributes:
        images: (B, S, S, 3) uint8.
        sizes: (B, 2) int32, height and width of each image on its canvas.
        labels: (B,) int32.
    """

    images: np.ndarray
    sizes: np.ndarray
    labels: np.ndarray


def evaluation_batches(
    items: Sequence[Item],
    preprocessing: Preprocessing,
    batch_size: int,
    reading: Reading = Reading(),
) -> Iterator[Batch]:
    """Yields the items in their order, through the test transform.

    Raises:
        UnreadableImageError: an image cannot be read and ``reading.skip_unreadable`` is off.
        DataError: no image could be read.
    """
    blank = np.zeros((preprocessing.crop, preprocessing.crop, 3), np.uint8)
    padding = -len(items) % batch_size
    reasons: list[str] = []

    def fetch(index: int) -> Batch:
        if index >= len(items):
            return Batch(blank, np.asarray(0, np.int32), np.asarray(0, np.float32))
        item = items[index]
        try:
            image = resize_and_crop(read_image(item, max_pixels=reading.max_pixels), preprocessing)
        except UnreadableImageError as error:
            if not reading.skip_unreadable:
                raise
            reasons.append(str(error))
            return Batch(blank, np.asarray(item.label, np.int32), np.asarray(0, np.float32))
        return Batch(image, np.asarray(item.label, np.int32), np.asarray(1, np.float32))

    yield from _batches(fetch, range(len(items) + padding), batch_size, reading.workers)
    warn_unreadable(reasons)
    if len(reasons) == len(items):
        raise DataError("No readable image is left; run `python -m dpl_jax.data check`.")


def canvas_batches(
    canvases: Canvases, order: np.ndarray, *, workers: int = 0
) -> Iterator[CanvasBatch]:
    """Yields the training batches of one epoch from canvases that live in memory or on disk.

    With the same ``order`` and the same keys for ``random_crop_flip``, a step sees exactly what
    it would see with all canvases on the device.

    Args:
        canvases: as from ``load_canvases``.
        order: (steps, B) int, which image each place of each batch holds.
    """

    def fetch(index: int) -> CanvasBatch:
        return CanvasBatch(canvases.images[index], canvases.sizes[index], canvases.labels[index])

    yield from _batches(fetch, order.reshape(-1), order.shape[1], workers)


def decoded_batches(
    items: Sequence[Item],
    side: int,
    order: np.ndarray,
    reading: Reading = Reading(),
) -> Iterator[CanvasBatch]:
    """As ``canvas_batches``, but decodes each image when its turn comes: nothing is kept.

    Args:
        items: what ``order`` points into.
        side: of the canvases, in pixels.
        order: (steps, B) int.

    Raises:
        UnreadableImageError: an image cannot be read.
    """

    def fetch(index: int) -> CanvasBatch:
        canvas, size = read_canvas(items[index], side, max_pixels=reading.max_pixels)
        return CanvasBatch(
            canvas, np.asarray(size, np.int32), np.asarray(items[index].label, np.int32)
        )

    yield from _batches(fetch, order.reshape(-1), order.shape[1], reading.workers)


def _batches(
    fetch: Callable[[int], Any], indices: Sequence[int] | np.ndarray, batch: int, workers: int
) -> Iterator[Any]:
    """Runs ``fetch`` over the indices in grain's threads and stacks the results, in order."""
    import grain  # takes seconds to import, which small sets need not wait for

    threads = thread_count(workers)
    options = grain.ReadOptions(
        num_threads=threads, prefetch_buffer_size=max(PREFETCHED_BATCHES * batch, threads)
    )
    source = grain.MapDataset.source([int(index) for index in indices]).map(fetch)
    yield from source.to_iter_dataset(options).batch(batch)
