"""How far a run is: whole epochs, and what is done of the epoch after them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Self

import numpy as np

MEANS = ("loss", "accuracy")
# Of steps: {"train": {"loss": .., "accuracy": ..}, ..}, each () or, of members, (M,).
Sums = dict[str, dict[str, np.ndarray]]


class EpochProgress(NamedTuple):
    """What a run has done.

    Attributes:
      epoch: whole epochs.
      step: steps of the next epoch.
      sums: of those steps' losses and accuracies, in float64.
    """

    epoch: int
    step: int
    sums: Sums

    def after(self, metrics: Mapping[str, Any]) -> Self:
        """The position after further steps of the epoch, whose metrics are (steps,) or (steps, M).

        They are added one by one, so that it does not matter where a checkpoint cuts the epoch.
        """
        sums = {
            split: {
                name: _add(self.sums.get(split, {}).get(name, 0.0), values[name]) for name in MEANS
            }
            for split, values in metrics.items()
        }
        steps = len(next(iter(metrics.values()))["loss"])
        return self._replace(step=self.step + steps, sums=sums)

    def after_epoch(self) -> Self:
        """The position at the end of the epoch."""
        return self._replace(epoch=self.epoch + 1, step=0, sums={})

    def to_metadata(self) -> dict[str, Any]:
        """What a checkpoint says of the position; JSON keeps every float64 exactly."""
        return {"epoch": self.epoch, "epoch_step": self.step, "sums": self.sums}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> Self:
        """Of a checkpoint; one without "epoch_step" was written at the end of an epoch."""
        sums = {
            split: {name: np.asarray(total, np.float64) for name, total in totals.items()}
            for split, totals in metadata.get("sums", {}).items()
        }
        return cls(metadata["epoch"], metadata.get("epoch_step", 0), sums)


START = EpochProgress(0, 0, {})


def chunks(
    done: EpochProgress, epochs: int, steps_per_epoch: int, every_steps: int
) -> Iterator[tuple[int, slice]]:
    """Yields what is left to do: epochs, and which of their steps to run in one go.

    Args:
      done: what has been done.
      epochs: in all.
      steps_per_epoch: of every epoch.
      every_steps: an epoch is cut at its multiples; 0 not to cut it. They do not depend on
        ``done``, so a resumed run runs the programs of one that never stopped.
    """
    size = every_steps or steps_per_epoch
    for epoch in range(done.epoch, epochs):
        start = done.step if epoch == done.epoch else 0
        while start < steps_per_epoch:
            stop = min((start // size + 1) * size, steps_per_epoch)
            yield epoch, slice(start, stop)
            start = stop


def epoch_means(done: EpochProgress) -> dict[str, Any]:
    """Means over the steps: val_loss, train_loss, ..; of each member too, if there are."""
    row: dict[str, Any] = {}
    members: dict[str, Any] = {}
    for split, totals in done.sums.items():
        for name, total in totals.items():
            mean = total / done.step  # () or (M,)
            row[f"{split}_{name}"] = float(mean.mean())
            if mean.ndim:
                members[f"{split}_{name}"] = mean
    return row | ({"members": members} if members else {})


def _add(total: Any, values: np.ndarray) -> np.ndarray:
    """``total`` and the (steps, ..) values, from the first to the last."""
    values = np.asarray(values, np.float64)
    start = np.broadcast_to(total, values[:1].shape)  # (1, ..)
    return np.asarray(np.cumsum(np.concatenate([start, values]), axis=0)[-1])
