"""Submits the cells that have not finished, and sees by what is on disk how each one ends."""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from dpl_jax.folder_lock import in_use
from dpl_jax.sweep.cell import OUTCOME, RETURNS, has_finished, read_outcome
from dpl_jax.sweep.grid import Cell

STATES = ("waiting", "running", "finished", "failed")
LOOKS = 2  # a job that is absent so often has ended; a network may show its files late


class Scheduler(Protocol):
    """What runs jobs: :mod:`dpl_jax.sweep.cluster`."""

    def alive(self) -> Mapping[str, str]:
        """The names of the cells that have a job; "waiting" or "running" each."""

    def submit(self, cells: Sequence[Cell], free: int, taken: Sequence[str]) -> int:
        """Gives jobs to the first of ``cells``, ``free`` at a time; says to how many.

        ``taken`` is the CUDA_VISIBLE_DEVICES of every job that runs.
        """

    def stop(self) -> None:
        """Asks the jobs that are this process's own to stop, and waits for them."""


@dataclasses.dataclass
class Entry:
    """A cell and how far it is.

    Attributes:
      cell: of the grid.
      folder: of the cell.
      state: of ``STATES``.
      submitted: whether it has a job, here or in the scheduler's queue.
      absent: looks since the job was last seen.
      failures: jobs that failed since the sweep was started.
      returns: jobs that were interrupted or killed since then.
      message: of the last job that failed or was interrupted.
    """

    cell: Cell
    folder: Path
    state: str = "waiting"
    submitted: bool = False
    absent: int = 0
    failures: int = 0
    returns: int = 0
    message: str = ""


Show = Callable[[Sequence[Entry], Entry | None], None]


def watch(
    entries: Sequence[Entry],
    scheduler: Scheduler,
    *,
    parallel: int,
    retries: int,
    show: Show,
    stopped: Callable[[], bool],
    seconds: float,
) -> None:
    """Goes on until every cell has finished or failed, or it is ``stopped``.

    A job that failed is tried again ``retries`` times, one that was interrupted or killed
    ``RETURNS`` times: it goes on from its checkpoint.

    Args:
      entries: all cells.
      scheduler: what runs jobs.
      parallel: at most so many jobs at a time.
      retries: of each cell.
      show: is told of every change, and of every look at the jobs.
      stopped: whether to leave off.
      seconds: between two looks at the jobs.
    """
    while not stopped():
        alive = scheduler.alive()  # before the disk: what has ended in between has finished
        open_ones = [entry for entry in entries if entry.state in ("waiting", "running")]
        for entry in open_ones:
            before = dataclasses.replace(entry)
            _look(entry, alive, retries)
            if (before.state, before.message) != (entry.state, entry.message):
                show(entries, entry)
        _submit(open_ones, scheduler, parallel)
        if not any(entry.state in ("waiting", "running") for entry in open_ones):
            return
        show(entries, None)
        time.sleep(seconds)


def counts(entries: Sequence[Entry]) -> dict[str, int]:
    """Cells by state; one in the scheduler's queue still waits."""
    found = collections.Counter(entry.state for entry in entries)
    return {state: found[state] for state in STATES}


def _look(entry: Entry, alive: Mapping[str, str], retries: int) -> None:
    state = alive.get(entry.cell.name) or ("running" if in_use(entry.folder) else "")
    if state:
        entry.state, entry.submitted, entry.absent = state, True, 0
    elif has_finished(entry.folder):
        entry.state, entry.submitted = "finished", False
    elif entry.submitted:
        entry.absent += 1
        if entry.absent == LOOKS:
            _end(entry, retries)


def _end(entry: Entry, retries: int) -> None:
    """What becomes of a cell whose job has ended without having finished it."""
    outcome = read_outcome(entry.folder)
    if outcome.state == "failed":
        entry.failures += 1
    else:
        entry.returns += 1
    entry.message = outcome.message or "The job was killed; its log is in the folder jobs."
    given_up = entry.failures > retries or entry.returns > RETURNS
    entry.state = "failed" if given_up else "waiting"
    entry.submitted, entry.absent = False, 0


def _submit(entries: Sequence[Entry], scheduler: Scheduler, parallel: int) -> None:
    """Those in the queue and those of an earlier array count, so that no more run than may."""
    free = parallel - sum(entry.submitted for entry in entries)
    starting = [entry for entry in entries if entry.state == "waiting" and not entry.submitted]
    if not starting or free < 1:
        return
    for entry in starting:
        (entry.folder / OUTCOME).unlink(missing_ok=True)  # an earlier job's
    taken = [read_outcome(entry.folder).gpus for entry in entries if entry.submitted]
    submitted = scheduler.submit([entry.cell for entry in starting], free, taken)
    for entry in starting[:submitted]:
        entry.submitted = True
