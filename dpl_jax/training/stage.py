"""A stage as a value: the search, stage 2, or a baseline's training; of one run or of members."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from dpl_jax.training.steps import Metrics, State


class RunSteps(Protocol):
    """Some steps of an epoch.

    ``state`` is donated; ``epoch`` counts from 0; ``which`` are the steps of the epoch. The
    metrics have a leading axis of steps, ``{"train": {"loss": .., "accuracy": .., "finite": ..},
    ..}``, and of members a second one.
    """

    def __call__(self, state: State, epoch: int, which: slice, /) -> tuple[State, Metrics]:
        """Returns the next state and the steps' metrics."""
        ...


class Program(Protocol):
    """A compiled chunk of steps, as :func:`dpl_jax.training.steps.search_epoch` with settings."""

    def __call__(
        self, state: State, clip: Any, task: Any, /, *orders: jax.Array
    ) -> tuple[State, Metrics]:
        """Returns the next state, and metrics with a leading axis of steps."""
        ...


def no_names(epoch: int, step: int, split: str) -> Sequence[str]:
    """Of images whose names are not known."""
    return ()


class Stage(NamedTuple):
    """All that :func:`dpl_jax.training.loop.run_epochs` needs to know of what it runs.

    Attributes:
      name: what the progress bar calls it.
      epochs: in all.
      steps_per_epoch: of every epoch.
      start: the state before the first step.
      run_steps: some steps of an epoch.
      describe: further fields of the epoch's line in metrics.jsonl.
      batch_names: (epoch, step of the epoch, split) to the names of a batch's images.
      members: what the members are called; of one run, nothing.
    """

    name: str
    epochs: int
    steps_per_epoch: int
    start: Callable[[], State]
    run_steps: RunSteps
    describe: Callable[[State], dict[str, Any]] = lambda state: {}
    batch_names: Callable[[int, int, str], Sequence[str]] = no_names
    members: Sequence[Any] = ()


def run_chunks(
    program: Program, state: State, clip: Any, chunks: Iterable[tuple[Any, ...]]
) -> tuple[State, Metrics]:
    """Runs ``program`` on each chunk of steps, (task, *orders); joins the metrics of all."""
    parts = []
    for chunk in chunks:
        state, metrics = program(state, clip, *chunk)
        parts.append(metrics)
    if len(parts) == 1:
        return state, parts[0]
    return state, jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
