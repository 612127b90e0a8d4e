"""Keeps the jobs of a sweep going until every cell has finished or failed."""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dpl_jax.json_files import read_json, write_json
from dpl_jax.sweep.cell import Outcome, has_finished
from dpl_jax.sweep.cluster import Running
from dpl_jax.sweep.grid import Cell

STATES = ("waiting", "running", "finished", "failed")
RECORD = "job.json"  # in a cell's folder while it has a job


@dataclasses.dataclass
class Entry:
    """A cell and how far it is.

    Attributes:
      cell: of the grid.
      folder: of the cell.
      state: of ``STATES``.
      failures: jobs that failed since the sweep was started.
      message: of the last job that failed or was interrupted.
      job: that runs or waits in the scheduler's queue.
      slot: the share of the machine that the job has.
    """

    cell: Cell
    folder: Path
    state: str = "waiting"
    failures: int = 0
    message: str = ""
    job: Running | None = None
    slot: int = 0


Submit = Callable[[Sequence[Entry]], list[Running]]
Adopt = Callable[[Entry, str], Running | None]
Show = Callable[[Sequence[Entry], Entry | None], None]


def take_up(entries: Sequence[Entry], adopt: Adopt) -> None:
    """Finds out what earlier sweeps in the folder have finished, and which of their jobs live."""
    for entry in entries:
        if has_finished(entry.folder):
            entry.state = "finished"
            (entry.folder / RECORD).unlink(missing_ok=True)
        elif (entry.folder / RECORD).is_file():
            record = read_json(entry.folder / RECORD)
            entry.job, entry.slot = adopt(entry, record["id"]), record["slot"]
            entry.state = "running" if entry.job else "waiting"


def drive(
    entries: Sequence[Entry],
    submit: Submit,
    *,
    limit: int,
    retries: int,
    show: Show,
    stopped: Callable[[], bool],
    seconds: float,
) -> None:
    """Submits, collects and tries again, until nothing waits or runs, or it is ``stopped``.

    A job that failed is tried again ``retries`` times. One that was interrupted is not counted: it
    goes on from its checkpoint.

    Args:
      entries: all cells.
      submit: starts jobs.
      limit: at most so many jobs at a time.
      retries: of each cell.
      show: is told of every change, and of every look at the jobs.
      stopped: whether to leave off.
      seconds: between two looks at the jobs.
    """
    while not stopped():
        for entry in _of(entries, "running"):
            if entry.job is not None and entry.job.done():
                _end(entry, entry.job.outcome(), retries)
                show(entries, entry)
        free = _free_slots(entries, limit)
        starting = _of(entries, "waiting")[: len(free)]
        if starting:
            _start(starting, free, submit)
            for entry in starting:
                show(entries, entry)
        if not _of(entries, "waiting") and not _of(entries, "running"):
            return
        show(entries, None)
        time.sleep(seconds)


def stop(entries: Sequence[Entry], seconds: float) -> None:
    """Asks the jobs that can be to stop, and waits until they have saved their state."""
    jobs = [entry.job for entry in entries if entry.job is not None]
    stopping = [job for job in jobs if job.stop()]
    while not all(job.done() for job in stopping):
        time.sleep(seconds)


def counts(entries: Sequence[Entry]) -> dict[str, int]:
    """Cells by state; one in the scheduler's queue still waits."""
    found = collections.Counter(shown_state(entry) for entry in entries)
    return {state: found[state] for state in STATES}


def shown_state(entry: Entry) -> str:
    """The state that a person is told."""
    queued = entry.state == "running" and entry.job is not None and entry.job.queued()
    return "waiting" if queued else entry.state


def _start(starting: Sequence[Entry], free: Sequence[int], submit: Submit) -> None:
    for entry, slot in zip(starting, free, strict=False):
        entry.slot = slot
    for entry, job in zip(starting, submit(starting), strict=True):
        entry.job, entry.state = job, "running"
        entry.folder.mkdir(parents=True, exist_ok=True)
        write_json(entry.folder / RECORD, {"id": job.id, "slot": entry.slot})


def _end(entry: Entry, outcome: Outcome, retries: int) -> None:
    """Decides by what is on disk, and only then by what the job said."""
    entry.job, entry.message = None, outcome.message
    (entry.folder / RECORD).unlink(missing_ok=True)
    if has_finished(entry.folder):
        entry.state = "finished"
        return
    entry.failures += outcome.state != "interrupted"
    entry.state = "failed" if entry.failures > retries else "waiting"


def _free_slots(entries: Sequence[Entry], limit: int) -> list[int]:
    taken = [entry.slot for entry in _of(entries, "running")]
    free = [slot for slot in range(limit) if slot not in taken]
    return free[: max(0, limit - len(taken))]


def _of(entries: Sequence[Entry], state: str) -> list[Entry]:
    return [entry for entry in entries if entry.state == state]
