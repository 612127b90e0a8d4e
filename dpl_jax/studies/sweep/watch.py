"""Submits the cells that have not finished, and sees by what is on disk how each one ends."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dpl_jax.runs.lock import in_use
from dpl_jax.studies.sweep.cell import OUTCOME, RETURNS, has_finished, read_outcome
from dpl_jax.studies.sweep.cluster import Scheduler
from dpl_jax.studies.sweep.grid import Cell

OPEN = ("running", "waiting")
STATES = ("failed", "finished", *OPEN)
LOOKS = 2  # a job that is absent so often has ended; a network may show its files late
KILLED = "The job was killed; its log is in the folder jobs."


@dataclasses.dataclass
class Entry:
    """A cell and how far it is.

    Attributes:
      cell: of the grid.
      folder: of the cell.
      state: of ``STATES``; one in the scheduler's queue still waits.
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


Show = Callable[[Entry], None]


def watch(
    entries: Sequence[Entry],
    scheduler: Scheduler,
    retries: int,
    show: Show,
    stopped: Callable[[], bool],
) -> None:
    """Goes on until every cell has finished or failed, or it is ``stopped``.

    A job that failed is tried again ``retries`` times, one that was interrupted or killed
    ``RETURNS`` times: it goes on from its checkpoint. ``show`` is told of every change.
    """
    while not stopped():
        alive = scheduler.alive()  # before the disk: what has ended in between has finished
        for entry in [entry for entry in entries if entry.state in OPEN]:
            before = entry.state, entry.message
            _look(entry, alive, retries)
            if before != (entry.state, entry.message):
                show(entry)
        open_ones = [entry for entry in entries if entry.state in OPEN]
        if not open_ones:
            return
        _submit(open_ones, scheduler)
        time.sleep(scheduler.seconds)


def _look(entry: Entry, alive: Mapping[str, str], retries: int) -> None:
    state = alive.get(entry.cell.name) or ("running" if in_use(entry.folder) else "")
    if state:
        entry.state, entry.submitted, entry.absent = state, True, 0
    elif has_finished(entry.folder):
        entry.state = "finished"
    elif entry.submitted:
        entry.absent += 1
        if entry.absent == LOOKS:
            _end(entry, retries)


def _end(entry: Entry, retries: int) -> None:
    """What becomes of a cell whose job has ended without having finished it."""
    why, message = read_outcome(entry.folder)
    entry.failures += why == "failed"
    entry.returns += why != "failed"
    entry.message = message or KILLED
    given_up = entry.failures > retries or entry.returns > RETURNS
    entry.state = "failed" if given_up else "waiting"
    entry.submitted, entry.absent = False, 0


def _submit(entries: Sequence[Entry], scheduler: Scheduler) -> None:
    """Those in the queue and those of an earlier array count, so that no more run than may."""
    starting = [entry for entry in entries if not entry.submitted]
    free = scheduler.options.parallel - (len(entries) - len(starting))
    if not starting or free < 1:
        return
    for entry in starting:
        (entry.folder / OUTCOME).unlink(missing_ok=True)  # an earlier job's
    for entry in starting[: scheduler.submit([entry.cell for entry in starting], free)]:
        entry.submitted = True
