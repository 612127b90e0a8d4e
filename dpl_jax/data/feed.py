"""Training images for the jitted steps: all on the device, or fed from the host in chunks.

Small sets (few-shot learning's usual case) are decoded once and stay on the device. A set beyond
``data.device_memory_mb`` comes in chunks of steps through grain, decoded ahead of use. Steps see
the same images either way.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import jax
import numpy as np
from flax import struct
from jax.sharding import Mesh
from ml_collections import ConfigDict

from dpl_jax.clip.preprocessing import Preprocessing
from dpl_jax.data.canvases import canvas_megabytes, canvas_side, load_canvases
from dpl_jax.data.decode import decode, read_all
from dpl_jax.data.images import Reading, read_image
from dpl_jax.data.split import Item
from dpl_jax.data.stream import canvas_batches, decoded_batches, evaluation_batches
from dpl_jax.runtime.mesh import replicate
from dpl_jax.runtime.processes import gather_parts, own_part, parts

Array: TypeAlias = jax.Array | np.ndarray

# Steps that a chunk from the host holds, so that a program's start is paid once for many.
CHUNK_STEPS = 32


class ImageSet(struct.PyTreeNode):
    """Labelled images on the device.

    Attributes:
      pixels: (n, H, W, 3) uint8.
      labels: (n,) int32.
      sizes: (n, 2) height and width of each image on its canvas, for the random crops; None for
        images that are ready for the model.
    """

    pixels: Array
    labels: Array
    sizes: Array | None = None

    def __len__(self) -> int:
        return self.labels.shape[0]


@dataclasses.dataclass(frozen=True)
class Feed:
    """Where the images of one split come from.

    Attributes:
      items: what orders point into.
      preprocessing: the test transform.
      data: ``config.data``.
      crop: whether the images are canvases for random crops, or ready for the model.
      resident: all images on the device, or None when they are fed from the host.
      mesh: of the devices, each of which gets the images; None for one device.
    """

    items: Sequence[Item]
    preprocessing: Preprocessing
    data: ConfigDict
    crop: bool
    resident: ImageSet | None
    mesh: Mesh | None = None

    def __len__(self) -> int:
        return len(self.items) if self.resident is None else len(self.resident)

    def chunks(self, order: np.ndarray, steps: int) -> Iterator[tuple[ImageSet, jax.Array]]:
        """Yields images and indices into them, ``steps`` steps at a time.

        Args:
          order: (all steps, B) of an epoch, or (all steps, M, B) of members; indices likewise.
          steps: of one chunk.
        """
        if self.resident is not None:
            for start in range(0, len(order), steps):
                yield self.resident, replicate(order[start : start + steps], self.mesh)
            return
        flat = order.reshape(len(order), -1)  # (all steps, B) or (all steps, M * B)
        size = flat.shape[1]
        batches = _host_batches(self, flat[:, own_part(size)])
        while batch := list(itertools.islice(batches, steps)):
            own = jax.tree.map(lambda *leaves: np.concatenate(leaves), *batch)
            images = gather_parts(own, size)  # of one process after the other
            indices = _positions(len(batch), size).reshape(-1, *order.shape[1:])  # (steps, .., B)
            yield replicate((images, indices), self.mesh)


def _positions(steps: int, size: int) -> np.ndarray:
    """(steps, B) where each step's images are: each process has read its part of every step."""
    start, columns = 0, []
    for part in parts(size):
        width = part.stop - part.start
        columns.append(start + np.arange(steps * width, dtype=np.int32).reshape(steps, width))
        start += steps * width
    return np.concatenate(columns, axis=1)


def chunk_steps(order: np.ndarray, *feeds: Feed) -> int:
    """Steps of one chunk: the whole epoch where all images are on the device."""
    return len(order) if all(feed.resident is not None for feed in feeds) else CHUNK_STEPS


def open_feed(
    items: Sequence[Item],
    preprocessing: Preprocessing,
    data: ConfigDict,
    *,
    augment: bool,
    mesh: Mesh | None = None,
) -> Feed:
    """Decodes the images onto the device if they fit ``data.device_memory_mb``.

    Of several processes each reads its part of them, and all get the whole.

    Args:
      items: of one split.
      preprocessing: the test transform.
      data: ``config.data``.
      augment: whether ``data.augment`` applies (to train images, never to validation).
      mesh: of the devices that get the images; None for one device.
    """
    crop = augment and data.augment == "crop_flip"
    side = canvas_side(data.canvas_size, preprocessing.crop) if crop else preprocessing.crop
    fits = canvas_megabytes(len(items), side) <= data.device_memory_mb
    if not fits and data.skip_unreadable:
        items = _readable(items, data)
    resident = None
    if fits:
        own = _decode(items[own_part(len(items))], preprocessing, data, crop)
        resident = replicate(gather_parts(own, len(items)), mesh)
    return Feed(items, preprocessing, data, crop, resident, mesh)


def _readable(items: Sequence[Item], data: ConfigDict) -> Sequence[Item]:
    """The items that can be read, found out before orders point into them."""

    def read(index: int) -> None:
        read_image(items[index], max_pixels=data.max_pixels)

    kept = read_all(read, len(items), Reading.of(data))
    return [item for item, good in zip(items, kept, strict=True) if good]


def _decode(
    items: Sequence[Item], preprocessing: Preprocessing, data: ConfigDict, crop: bool
) -> ImageSet:
    reading = Reading.of(data)
    if crop:
        side = canvas_side(data.canvas_size, preprocessing.crop)
        canvases = load_canvases(items, side, reading, cache_dir=data.cache_dir)
        return ImageSet(canvases.images, canvases.labels, canvases.sizes)
    pixels, labels = decode(items, preprocessing, reading)
    return ImageSet(pixels, labels)


def _host_batches(feed: Feed, order: np.ndarray) -> Iterator[ImageSet]:
    """Batches of an epoch as NumPy arrays, read ahead of use."""
    data = feed.data
    reading = Reading.of(data)._replace(skip_unreadable=False)  # open_feed left those out
    if not feed.crop:
        ordered = [feed.items[i] for i in order.reshape(-1)]
        for batch in evaluation_batches(ordered, feed.preprocessing, order.shape[1], reading):
            yield ImageSet(batch.images, batch.labels)
        return
    side = canvas_side(data.canvas_size, feed.preprocessing.crop)
    if data.cache_dir:
        canvases = load_canvases(feed.items, side, reading, cache_dir=data.cache_dir)
        stream = canvas_batches(canvases, order, workers=data.workers)
    else:
        stream = decoded_batches(feed.items, side, order, reading)
    for images in stream:
        yield ImageSet(images.images, images.labels, images.sizes)
