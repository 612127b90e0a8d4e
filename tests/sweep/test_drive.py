"""What becomes of jobs that fail, are interrupted or were there before; with jobs that are none."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from dpl_jax.sweep.cell import Outcome
from dpl_jax.sweep.cluster import Running
from dpl_jax.sweep.drive import RECORD, Entry, drive, take_up
from dpl_jax.sweep.grid import make_cells
from dpl_jax.sweep.show import shown

FAILED, STOPPED = Outcome("failed", "first\nlast line"), Outcome("interrupted", "Stopped.")
FINISHED = Outcome("finished")


def finish(folder: Path) -> None:
    (folder / "train").mkdir(parents=True, exist_ok=True)
    (folder / "train" / "results.json").write_text(json.dumps({"evaluations": {"test": {}}}))


class Jobs:
    """Jobs that end at the second look with what each cell's plan says, one outcome a try."""

    def __init__(self, plan: dict[int, list[Outcome]]) -> None:
        self.plan, self.alive, self.most = plan, 0, 0
        self.slots: list[set[int]] = []
        self.submitted: list[int] = []

    def __call__(self, entries: Sequence[Entry]) -> list[Running]:
        return [self.start(entry) for entry in entries]

    def start(self, entry: Entry) -> Running:
        looks = iter([False])
        outcome = self.plan[entry.cell.seed].pop(0)
        self.submitted.append(entry.cell.seed)
        self.alive += 1
        self.most = max(self.most, self.alive)

        def end() -> Outcome:
            self.alive -= 1
            if outcome == FINISHED:
                finish(entry.folder)
            return outcome

        return Running("1", lambda: next(looks, True), lambda: False, end, lambda: True)


def make_entries(folder: Path, seeds: Sequence[int]) -> list[Entry]:
    return [Entry(cell, folder / cell.name) for cell in make_cells(["a"], [1], seeds)]


def run(entries: list[Entry], jobs: Jobs, limit: int = 1, retries: int = 1) -> str:
    file = io.StringIO()
    with shown("auto", file) as show:
        drive(
            entries,
            jobs,
            limit=limit,
            retries=retries,
            show=show,
            stopped=lambda: False,
            seconds=0,
        )
    return file.getvalue()


@pytest.mark.parametrize(("retries", "state", "tries"), [(0, "failed", 1), (2, "finished", 3)])
def test_what_failed_is_tried_again_so_often(
    retries: int, state: str, tries: int, tmp_path: Path
) -> None:
    entries, jobs = make_entries(tmp_path, [1]), Jobs({1: [FAILED, FAILED, FINISHED]})
    said = run(entries, jobs, retries=retries)
    assert entries[0].state == state and len(jobs.submitted) == tries
    assert said.count(": last line  (") == min(tries, 2)
    assert not list(tmp_path.rglob(RECORD))


def test_an_interruption_is_no_failure(tmp_path: Path) -> None:
    entries, jobs = make_entries(tmp_path, [1]), Jobs({1: [STOPPED] * 3 + [FINISHED]})
    said = run(entries, jobs, retries=0)
    assert entries[0].state == "finished" and said.count("interrupted, tried again") == 3


def test_one_that_fails_holds_up_no_other(tmp_path: Path) -> None:
    entries = make_entries(tmp_path, [1, 2])
    said = run(entries, Jobs({1: [FAILED, FAILED], 2: [FINISHED]}))
    assert [entry.state for entry in entries] == ["failed", "finished"]
    assert said.splitlines()[-1] == "a/shots1/seed2: finished  (1 failed, 1 finished, 0 running, " \
        "0 waiting)"  # fmt: skip


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_no_more_jobs_run_than_may_and_each_has_a_share_of_its_own(
    limit: int, tmp_path: Path
) -> None:
    entries = make_entries(tmp_path, range(4))
    jobs = Jobs({seed: [FINISHED] for seed in range(4)})
    shares: list[list[int]] = []

    def show(found: Sequence[Entry], changed: Entry | None) -> None:
        shares.append([entry.slot for entry in found if entry.state == "running"])

    more = {"limit": limit, "retries": 0, "seconds": 0}
    drive(entries, jobs, show=show, stopped=lambda: False, **more)
    assert jobs.most == min(limit, 4)
    assert all(len(set(slots)) == len(slots) and max(slots, default=0) < limit for slots in shares)


def test_what_is_on_disk_counts_more_than_what_a_job_said(tmp_path: Path) -> None:
    entries, jobs = make_entries(tmp_path, [1]), Jobs({1: [FAILED]})
    drive(
        entries,
        jobs,
        limit=1,
        retries=0,
        show=lambda found, changed: finish(entries[0].folder),
        stopped=lambda: False,
        seconds=0,
    )
    assert entries[0].state == "finished"


def test_jobs_of_an_earlier_sweep_are_taken_up(tmp_path: Path) -> None:
    entries = make_entries(tmp_path, [1, 2, 3, 4])
    finish(entries[0].folder)
    for entry, name in zip(entries, ("old", "alive", "dead"), strict=False):
        entry.folder.mkdir(parents=True, exist_ok=True)
        (entry.folder / RECORD).write_text(json.dumps({"id": name, "slot": 1}))
    alive = Running("alive", lambda: False, lambda: False, lambda: FINISHED, lambda: True)
    take_up(entries, lambda entry, job_id: alive if job_id == "alive" else None)
    assert [entry.state for entry in entries] == ["finished", "running", "waiting", "waiting"]
    assert entries[1].slot == 1
    jobs = Jobs({seed: [FINISHED] for seed in (3, 4)})
    stop = iter([False, False, True])
    drive(
        entries,
        jobs,
        limit=2,
        retries=0,
        show=lambda *_: None,
        stopped=lambda: next(stop),
        seconds=0,
    )
    assert jobs.submitted == [3] and entries[2].slot == 0  # one runs already, in the other share
