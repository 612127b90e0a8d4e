"""The order in which images are seen: a function of seed and position, so resuming is exact."""

from __future__ import annotations

import numpy as np

TRAIN, VALIDATION = 0, 1


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Full batches in one pass; a set smaller than a batch is one batch."""
    return max(images // batch_size, 1)


def train_order(images: int, batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """Indices (steps, B) of one epoch: every image at most once, the incomplete batch left out."""
    steps = steps_per_epoch(images, batch_size)
    batch_size = min(batch_size, images)
    order = _permutation(images, seed, TRAIN, epoch)[: steps * batch_size]
    return order.reshape(steps, batch_size)  # (steps, B)


def validation_order(images: int, batch_size: int, steps: int, seed: int, epoch: int) -> np.ndarray:
    """Indices (steps, B) from an endless sequence of shuffled passes over the validation set."""
    batch_size = min(batch_size, images)
    positions = np.arange(steps * batch_size) + epoch * steps * batch_size
    passes = positions // images
    shuffled = {int(p): _permutation(images, seed, VALIDATION, int(p)) for p in np.unique(passes)}
    order = [shuffled[int(p)][i % images] for p, i in zip(passes, positions, strict=True)]
    return np.array(order, np.int32).reshape(steps, batch_size)  # (steps, B)


def _permutation(images: int, seed: int, stream: int, number: int) -> np.ndarray:
    random = np.random.default_rng([seed, stream, number])
    return random.permutation(images).astype(np.int32)
