"""Runs killed by SIGKILL wherever they are, again and again, end as if nothing had happened.

DPL_KILLS=100 kills more often than the 20 times of a usual test run.
"""

import json
import os
import random
import re
from pathlib import Path
from typing import Any

import pytest

from tests.reliability.conftest import Start
from tests.reliability.test_interrupts import assert_same_run

KILLS = int(os.environ.get("DPL_KILLS", "20"))
STEPS = {"search": 4, "train": 5}  # in an epoch
# What a process was at when it was killed, by the file that it had to do with.
PHASES = {
    "saving a checkpoint": r"checkpoints/\d+\.orbax-checkpoint-tmp",
    "writing metrics": r"metrics\.jsonl",
    "writing the end": r"\.(results|configuration)\.json",
}


def moments(random: random.Random, operations: list[str], late: bool) -> list[dict[str, Any]]:
    """When to kill the starts of one run: at an operation on its files, or after a time."""
    if late:  # where it comes to its end; and the next start, which only has to write it down
        end = [at for at, name in enumerate(operations, 1) if "writing the end" in phases(name)]
        return [{"kill_at": random.choice(end)}, {"kill_at": random.randint(4, 9)}]
    # After the first checkpoint, and then later ones; a slow machine's kill by time moves nothing.
    shares = [(0.25, 0.33), (0.4, 0.55), (0.3, 0.45)]
    at = [{"kill_at": int(random.uniform(*share) * len(operations))} for share in shares]
    after = [{"kill_after": random.uniform(0.2, 3.0)} for _ in range(2)]
    return [at[0], after[0], at[1], after[1], at[2]]


@pytest.mark.parametrize("stage", ["search", "train"])
def test_killed_runs_end_as_if_they_had_not_been(stage: str, start: Start, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    assert start(stage, whole) == 0, Path(f"{whole}.txt").read_text()
    operations = Path(f"{whole}.operations").read_text().splitlines()
    seeded, killed, seen = random.Random(stage), 0, set()
    runs, progress = [], set()
    while killed < KILLS // 2:
        folder = tmp_path / f"run-{len(runs)}"
        runs.append(folder)
        for moment in moments(seeded, operations, late=len(runs) % 2 == 0):
            code = start(stage, folder, **moment)
            if code == 0:  # done before its time came
                continue
            assert code == -9, Path(f"{folder}.txt").read_text()
            killed += 1
            progress.add(how_far(folder))
            at = Path(f"{folder}.killed")
            seen |= {"running steps"} if "kill_after" in moment else phases(at.read_text())
            if killed == KILLS // 2:
                break
        assert start(stage, folder) == 0, Path(f"{folder}.txt").read_text()
    for folder in runs:
        assert_same_run(folder, whole)
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert [row["step"] for row in rows] == [epoch * STEPS[stage] for epoch in (1, 2, 3)]
        assert not list(folder.rglob("*tmp*"))
        assert "Traceback" not in Path(f"{folder}.txt").read_text()
    assert killed == KILLS // 2
    assert {"saving a checkpoint", "writing the end", "running steps"} <= seen
    assert len(progress) >= 3, progress
    print(stage, "killed", killed, "in", sorted(seen), "after", sorted(progress))


def how_far(folder: Path) -> tuple[int, int]:
    """The newest checkpoint's step, and the lines of metrics.jsonl."""
    found = (folder / "checkpoints").glob("*")
    steps = [int(path.name) for path in found if path.name.isdecimal()]
    metrics = folder / "metrics.jsonl"
    lines = metrics.read_bytes().count(b"\n") if metrics.exists() else 0
    return max(steps, default=0), lines


def phases(operation: str) -> set[str]:
    return {name for name, pattern in PHASES.items() if re.search(pattern, operation)}
