"""Class folders as arrays, and the photos and captions of every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import ml_collections
import numpy as np

from dpl_jax.clip.preprocessing import Preprocessing
from dpl_jax.data.decode import decode
from dpl_jax.data.folder import read_folder
from dpl_jax.data.split import Item
from dpl_jax.data.templates import PHOTO
from dpl_jax.errors import TextTooLongError
from recipes.small.names import Names, Words, draw_captions, draw_words

Batch = dict[str, Any]


class Photos(NamedTuple):
    """Photos (n, side, side, 3) uint8 of n labels (n,), and the C class names."""

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]

    def part(self, count: int) -> Photos:
        """At most ``count`` of the photos, at even distances, so of all classes."""
        rows = np.linspace(0, len(self.labels), min(count, len(self.labels)), False).astype(int)
        return Photos(self.images[rows], self.labels[rows], self.classes)


def read_photos(root: str, side: int) -> tuple[Photos, Photos]:
    """Decodes the training photos and those for validation (or test) below ``root``.

    Raises:
      DataError: there are no such folders, or a photo cannot be read.
    """
    found = read_folder(root)
    names = tuple(found.classnames)
    held_out = found.val or found.test
    return _decode(found.train, side, names), _decode(held_out, side, names)


def read_test_photos(root: str, side: int) -> Photos:
    """Decodes the test photos of a task."""
    found = read_folder(root)
    return _decode(found.test, side, tuple(found.classnames))


def _decode(items: Sequence[Item], side: int, classes: tuple[str, ...]) -> Photos:
    return Photos(*decode(items, Preprocessing(side, side)), classes)


def batch_at(
    config: ml_collections.ConfigDict,
    step: int,
    photos: Photos,
    names: Names,
    words: Words,
    tokenize: Callable[[str], np.ndarray],
) -> Batch:
    """Returns the batch of one step, the same for the same seed and step.

    Keys: pixels (B, side, side, 3) uint8, label (B,), input_ids (M, S) and end (M,) of the
    captions, and true (C, M) bool, of which classes they are true.
    """
    epoch, place = divmod(step, steps_per_epoch(config, photos))
    order = np.random.default_rng([config.seed, 1, epoch]).permutation(len(photos.labels))
    rows = order[place * config.batch_size : (place + 1) * config.batch_size]
    rng = np.random.default_rng([config.seed, 2, step])
    captions, named = draw_captions(rng, names, config.captions - config.words)
    further, rows_of_words = draw_words(rng, words, config.words)
    told = [*(names.words[k] for k in named), *(words.kinds[k][0] for k in rows_of_words)]
    input_ids = np.stack(
        [_fitting(tokenize, *each) for each in zip(captions + further, told, strict=True)]
    )  # (M, S)
    return {
        "pixels": photos.images[rows],
        "label": photos.labels[rows],
        "input_ids": input_ids,
        "end": input_ids.argmax(axis=1).astype(np.int32),  # the end-of-text id is the largest
        "true": np.concatenate([names.true[:, named], words.true[:, rows_of_words]], axis=1),
    }


def _fitting(tokenize: Callable[[str], np.ndarray], caption: str, name: str) -> np.ndarray:
    """The ids of the caption; where it is too long, of the name in the plain template."""
    try:
        return tokenize(caption)
    except TextTooLongError:
        return tokenize(PHOTO.format(name))


def steps_per_epoch(config: ml_collections.ConfigDict, photos: Photos) -> int:
    """Whole batches in one pass; what is left over differs from pass to pass."""
    return max(1, len(photos.labels) // config.batch_size)
