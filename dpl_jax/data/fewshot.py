"""Few-shot sampling: the same images as CoOp for the same shots and seed.

CoOp (arXiv 2109.01134) seeds Python's ``random`` with the run's seed, draws k training images of
each class, and then, from the same stream, min(k, 4) validation images of each class.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Sequence

from dpl_jax.data.split import Item
from dpl_jax.errors import DataError

MAX_VALIDATION_SHOTS = 4  # CoOp, section 4 of the paper: at most 4 validation images per class
log = logging.getLogger(__name__)


def sample_few_shot(
    train: Sequence[Item],
    val: Sequence[Item],
    shots: int,
    seed: int,
    *,
    allow_fewer: bool = False,
    hold_out: bool = True,
) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """Draws ``shots`` training and min(shots, 4) validation images per class, as CoOp does.

    Classes come in the order of their first image. Without validation images, part of the drawn
    training images is held out instead (``hold_out_validation``): never a test image.

    Args:
        shots: training images per class; 0 takes the whole splits.
        allow_fewer: CoOp's rule that a class with fewer images than ``shots`` gives all it has.
        hold_out: False leaves all drawn images in train, for stage 2, which needs no validation.

    Raises:
        DataError: negative shots, no training images, or a class with too few of them.
    """
    if shots < 0:
        raise DataError(f"data.shots is {shots}; give 1 or more, or 0 for the whole split.")
    if not train:
        raise DataError("There are no training images to sample from.")
    if shots:
        _check_enough(train, shots, allow_fewer)
        stream = random.Random(seed)
        train = _sample(train, shots, stream)
        val = _sample(val, min(shots, MAX_VALIDATION_SHOTS), stream)
    if not val and hold_out:
        return hold_out_validation(train)
    return tuple(train), tuple(val)


def hold_out_validation(train: Sequence[Item]) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """Splits few-shot training images into train and validation, for sources without validation.

    Of a class's n images the last min(n // 2, 4) are held out (16 shots: 12 to train, 4 to
    validate). Of the classes with a single image, every second one gives it to validation.
    The images were drawn at random, so their order needs no second draw.
    """
    kept: list[Item] = []
    held: list[Item] = []
    single = 0
    for group in _by_label(train).values():
        count = min(len(group) // 2, MAX_VALIDATION_SHOTS)
        if len(group) == 1:
            count = single % 2
            single += 1
        kept += group[: len(group) - count]
        held += group[len(group) - count :]
    log.info("No validation split: %d of %d training images held out.", len(held), len(train))
    return tuple(kept), tuple(held)


def _sample(items: Sequence[Item], shots: int, stream: random.Random) -> list[Item]:
    """Draws ``shots`` items of each class; all of a smaller class, without using the stream."""
    drawn: list[Item] = []
    for group in _by_label(items).values():
        drawn += stream.sample(group, shots) if len(group) >= shots else group
    return drawn


def _by_label(items: Iterable[Item]) -> dict[int, list[Item]]:
    """Groups items by label, in the order in which the labels first appear."""
    groups: dict[int, list[Item]] = {}
    for item in items:
        groups.setdefault(item.label, []).append(item)
    return groups


def short_classes(train: Sequence[Item], shots: int) -> str:
    """Names the classes with fewer images than shots, with their counts; "" when there are none."""
    groups = _by_label(train).values()
    short = [f"{group[0].classname} ({len(group)})" for group in groups if len(group) < shots]
    return ", ".join(short[:8]) + (f" and {len(short) - 8} more" if len(short) > 8 else "")


def _check_enough(train: Sequence[Item], shots: int, allow_fewer: bool) -> None:
    """Refuses, or with ``allow_fewer`` reports, classes with fewer images than shots."""
    listed = short_classes(train, shots)
    if not listed:
        return
    if not allow_fewer:
        raise DataError(
            f"{shots} shots were asked for, but some classes have fewer training "
            f"images: {listed}. Ask for fewer with data.shots, or set "
            "data.allow_fewer_shots=true to take all that such a class has, as CoOp does."
        )
    log.warning("Fewer than %d training images, all are used: %s.", shots, listed)
