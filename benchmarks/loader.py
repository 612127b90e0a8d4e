"""How fast images reach the device.

    python -m benchmarks.loader

1. Images per second decoded and resized by the evaluation stream with two threads, against Pillow
   in one thread.
2. An epoch of random crops with the canvases on the device, against the same batches fed from the
   host.

Real photos from DPL_DATA_ROOT's Caltech101 where it is set, else JPEGs drawn here. The ways take
turns, and the best round of each counts, so that other work on the machine disturbs both alike.
"""

from __future__ import annotations

import functools
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image

from dpl_jax.clip.preprocessing import Preprocessing
from dpl_jax.data.augment import random_crop_flip
from dpl_jax.data.canvases import Canvases, load_canvases
from dpl_jax.data.coop.layouts import read_coop
from dpl_jax.data.images import Reading
from dpl_jax.data.split import Item
from dpl_jax.data.stream import canvas_batches, evaluation_batches
from dpl_jax.summary.table import print_table

PREPROCESSING = Preprocessing(224, 224)
IMAGES, ROUNDS, THREADS = 600, 5, 2
SIDE, BATCH, STEPS = 448, 4, 40


def main() -> None:
    """Runs both comparisons and prints two tables."""
    with tempfile.TemporaryDirectory() as folder:
        items = photos(Path(folder))
        pillow, ours = best_of(
            functools.partial(pillow_in_one_thread, items), functools.partial(stream, items)
        )
        report(
            f"{len(items)} images decoded and resized to 224 pixels",
            "images/s",
            [("Pillow, 1 thread", len(items) / pillow), ("dpl_jax, 2 threads", len(items) / ours)],
        )
        canvases = load_canvases(items[:64], SIDE)
    host, device = best_of(*epochs(canvases))
    report(
        f"{STEPS} steps of {BATCH} random crops from {SIDE}-pixel canvases",
        "steps/s",
        [("fed from the host", STEPS / host), ("canvases on the device", STEPS / device)],
    )


def photos(folder: Path) -> list[Item]:
    """Lists Caltech101's training photos, or JPEGs drawn into ``folder``."""
    if os.environ.get("DPL_DATA_ROOT"):
        return list(read_coop("caltech101").train[:IMAGES])
    random = np.random.default_rng(0)
    items = []
    for index in range(IMAGES // 4):
        levels = random.integers(0, 256, (30, 40, 3), np.uint8)
        photo = PIL.Image.fromarray(levels).resize((640, 480), PIL.Image.Resampling.BICUBIC)
        photo.save(folder / f"{index}.jpg", quality=90)
        items.append(Item(folder / f"{index}.jpg", 0, "drawn", f"{index}.jpg"))
    return items


def pillow_in_one_thread(items: list[Item]) -> None:
    """CLIP's preprocessing, one image after the other, batches of 100 stacked."""
    for start in range(0, len(items), 100):
        batch = []
        for item in items[start : start + 100]:
            assert isinstance(item.image, Path)
            with PIL.Image.open(item.image) as opened:
                image = opened.convert("RGB")
            scale = 224 / min(image.size)
            size = (int(image.width * scale + 1e-6), int(image.height * scale + 1e-6))
            image = image.resize(size, PIL.Image.Resampling.BICUBIC)
            left, top = (size[0] - 224) // 2, (size[1] - 224) // 2
            batch.append(np.asarray(image.crop((left, top, left + 224, top + 224))))
        np.stack(batch)


def stream(items: list[Item]) -> None:
    """The evaluation stream, consumed as fast as it comes."""
    for batch in evaluation_batches(items, PREPROCESSING, 100, Reading(workers=THREADS)):
        assert batch.images.shape == (100, 224, 224, 3)


def epochs(canvases: Canvases) -> tuple[Callable[[], None], Callable[[], None]]:
    """Returns an epoch fed from the host and the same epoch on the device."""
    order = np.random.default_rng(0).integers(0, len(canvases.labels), (STEPS, BATCH))
    resident = jax.device_put((canvases.images, canvases.sizes))
    keys = jax.random.split(jax.random.key(0), STEPS)

    @jax.jit
    def step(key: jax.Array, images: jax.Array, sizes: jax.Array) -> jax.Array:
        return jnp.mean(random_crop_flip(key, images, sizes, 224), dtype=jnp.float32)

    @jax.jit
    def scan(images: jax.Array, sizes: jax.Array) -> jax.Array:
        def body(total: jax.Array, at: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            key, places = at
            return total + step(key, images[places], sizes[places]), None

        return jax.lax.scan(body, jnp.float32(0), (keys, jnp.asarray(order)))[0]

    def from_host() -> None:
        total = jnp.float32(0)
        for key, batch in zip(keys, canvas_batches(canvases, order, workers=THREADS), strict=True):
            total += step(key, batch.images, batch.sizes)
        total.block_until_ready()

    return from_host, lambda: scan(*resident).block_until_ready()


def best_of(*ways: Callable[[], None]) -> list[float]:
    """Returns the seconds of each way's best round; a round before them is not counted."""
    seconds = [float("inf")] * len(ways)
    for turn in range(ROUNDS + 1):
        for place, way in enumerate(ways):
            start = time.perf_counter()
            way()
            if turn:
                seconds[place] = min(seconds[place], time.perf_counter() - start)
    return seconds


def report(title: str, unit: str, rows: list[tuple[str, float]]) -> None:
    """Prints each way's rate, and how many times the first one's it is."""
    table: list[list[str | float]] = [[name, rate, rate / rows[0][1]] for name, rate in rows]
    print_table(title, ["way", unit, "times"], table)


if __name__ == "__main__":
    main()
