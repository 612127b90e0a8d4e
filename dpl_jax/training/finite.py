"""Numbers that are not finite: which step, which half of it, which members, which images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dpl_jax.data.feed import Feed
from dpl_jax.errors import NumericsError

# In the order of a step: the half that a split's batch is for.
HALVES = {"val": "the alphas (on validation images)", "train": "the prompts (on train images)"}
# (epoch, step of the epoch, split) to the names of a batch's images; none where not known.
BatchNames = Callable[[int, int, str], Sequence[str]]


def check_finite(
    metrics: Mapping[str, Any],
    epoch: int,
    first: int,
    *,
    steps_per_epoch: int,
    batch_names: BatchNames = lambda epoch, step, split: (),
    members: Sequence[Any] = (),
    folder: Any = "the run's folder",
) -> None:
    """Checks what some steps of an epoch reported.

    Args:
      metrics: {"train": {"loss": .., "finite": ..}, ..}, leaves (steps,) or (steps, M).
      epoch: number of the epoch, from 0.
      first: which step of the epoch is the first, from 0.
      steps_per_epoch: of every epoch.
      batch_names: what the images of a step are called.
      members: what the M members are called.
      folder: of the checkpoints, for the message.

    Raises:
      NumericsError: naming the first step and its first half whose loss or result is not finite.
    """
    found = _first_wrong({split: np.asarray(each["finite"]) for split, each in metrics.items()})
    if found is None:
        return
    index, split = found
    step = first + index
    losses = ", ".join(f"{name} loss {metrics[name]['loss'][index]}" for name in metrics)
    number = epoch * steps_per_epoch + step + 1
    raise NumericsError(
        f"Step {number} (epoch {epoch + 1}, its step {step + 1} of {steps_per_epoch}), in the half "
        f"that updates {HALVES[split]}: the loss or what it led to became not finite ({losses}). "
        f"{_members(metrics[split]['finite'][index], members)}"
        f"{_images(batch_names(epoch, step, split))}"
        "Likely causes: a learning rate or prompt_scale that is too large, or bfloat16. "
        f"The checkpoints in {folder} hold the last good state; "
        "start again with other settings in another folder."
    )


def image_names(feed: Feed, order: np.ndarray) -> list[str]:
    """The names of the images at ``order``; none where unreadable images were left out."""
    if len(feed.items) != len(feed):
        return []
    return [feed.items[index].name for index in order.reshape(-1)]


def _first_wrong(finite: Mapping[str, np.ndarray]) -> tuple[int, str] | None:
    """The first step that went wrong, and the first half of it that did."""
    steps = len(next(iter(finite.values())))
    halves = [split for split in HALVES if split in finite]
    wrong = ((i, split) for i in range(steps) for split in halves if not finite[split][i].all())
    return next(wrong, None)


def _members(finite: Any, members: Sequence[Any]) -> str:
    """A sentence that names those among several members that went wrong."""
    if not np.ndim(finite):
        return ""
    names = [str(members[index]) for index in np.flatnonzero(np.logical_not(finite)).tolist()]
    # The last group of members is filled up by repeating one.
    return f"It went wrong for: {', '.join(dict.fromkeys(names))}. "


def _images(names: Sequence[str]) -> str:
    return f"Its images: {', '.join(names)}. " if names else ""
