"""Sweeps on a Slurm that stands in for a real one, and fails as real ones do."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from configs import digits
from dpl_jax.errors import ConfigError
from dpl_jax.files.json import read_json
from dpl_jax.studies.sweep import cluster
from dpl_jax.studies.sweep.cluster import Options, Slurm, check_options
from dpl_jax.studies.sweep.grid import Cell, make_cells
from dpl_jax.studies.sweep.plan import Plan
from dpl_jax.studies.sweep.sweep import sweep
from dpl_jax.studies.sweep.watch import Entry, watch
from dpl_jax.summary.intervals import percent
from tests.studies.sweep.command import start, wait_for
from tests.studies.sweep.standin import CELL, SBATCH, SQUEUE, write_command

OPTIONS = Options("slurm", 40, 240, 2, 8, "gpu", {"account": "vision lab"})
CELLS = make_cells(["a"], [1, 2], range(100))


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with commands that come before all others; sacct does not answer."""
    (tmp_path / "queue").mkdir()
    bodies = {"sbatch": SBATCH, "squeue": SQUEUE, "sacct": "sys.exit(1)", "cell": CELL}
    bodies["scontrol"] = "print('MaxArraySize            = 150')"
    for name, body in bodies.items():
        write_command(tmp_path / name, body)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(cluster, "_command", lambda plan: [str(tmp_path / "cell"), str(plan)])
    monkeypatch.setattr(cluster, "WAIT", 0.0)
    monkeypatch.setattr(Slurm, "seconds", 0)
    return tmp_path


def scheduler(folder: Path) -> Slurm:
    return Slurm(OPTIONS, Plan(folder / "runs", {"a": digits.get_config()}, CELLS))


def run(folder: Path, looks: float = float("inf")) -> list[Entry]:
    """A sweep that is killed after so many looks, right behind what it has submitted then."""
    entries = [Entry(cell, folder / "runs" / cell.name) for cell in CELLS]
    seen: list[None] = []

    def killed() -> bool:
        if len(seen) == looks:
            raise KeyboardInterrupt
        seen.append(None)
        return False

    watch(entries, scheduler(folder), retries=0, show=lambda _: None, stopped=killed)
    return entries


def test_of_200_cells_none_is_lost_and_no_stage_is_run_twice(slurm: Path) -> None:
    for looks in (1, 2, 3):
        with pytest.raises(KeyboardInterrupt):
            run(slurm, looks)
        waiting = Counter(
            (path.read_text().splitlines()[0], path.name.split("_")[1])
            for path in (slurm / "queue").iterdir()
        )
        assert set(waiting.values()) <= {1}
    entries = run(slurm)
    assert {entry.state for entry in entries} == {"finished"} and len(entries) == 200
    stages = [(entry.folder / "stages").read_text().split() for entry in entries]
    assert stages == [["search", "training", "evaluation"]] * 200
    deaths = sum(len((entry.folder / "starts").read_text()) - 1 for entry in entries)
    arrays = [tuple(map(int, line.split())) for line in (slurm / "arrays").read_text().splitlines()]
    # A cell is submitted once, and again for each time that it died: never while it has a job.
    assert deaths > 50 and sum(size for size, _ in arrays) == 200 + deaths
    assert arrays[0] == (150, 40) and max(arrays) == arrays[0]


def test_real_cells_end_in_the_table_though_the_sweep_was_stopped(
    slurm: Path, photos: Path, settings: list[str], tmp_path: Path
) -> None:
    workdir, options = tmp_path / "runs", ["--executor=slurm", "--minutes=9", "--parallel=1"]
    stopped = start(photos, settings, workdir, *options)
    wait_for((workdir / "photos/shots2/seed1/train/results.json").exists, stopped)
    stopped.send_signal(signal.SIGINT)
    said = stopped.communicate(timeout=600)[1]
    assert stopped.returncode == 130, said
    assert "The sweep was stopped by SIGINT: 0 failed" in said
    assert [path.name for path in (slurm / "queue").iterdir()] == ["0001_1"]
    goes_on = start(photos, settings, workdir, *options)
    printed, said = goes_on.communicate(timeout=600)
    assert goes_on.returncode == 0, said
    assert (slurm / "arrays").read_text() == "2 1\n"  # one, of both cells, one at a time
    (row,) = read_json(workdir / "table.json")["rows"]
    accuracy = percent(row["dpl"]["accuracy"]).mean
    assert row["seeds"] == [1, 2] and f"{accuracy:.2f}" in printed.splitlines()[-2]
    assert (
        f"| photos | 2 | 2 | {percent(row['zero_shot']['accuracy']).mean:.2f}"
        in (workdir / "table.md").read_text()
    )


def test_an_array_asks_for_what_was_asked_for(slurm: Path) -> None:
    assert scheduler(slurm).submit([Cell("a", 1, 1), Cell("a", 1, 2)], 3) == 2
    (script,) = (slurm / "runs" / "jobs").glob("*.sh")
    asked = script.read_text().splitlines()
    for option in (
        "partition=gpu",
        "time=240",
        "gpus-per-node=2",
        "cpus-per-task=8",
        "account='vision lab'",
        "array=0-1%3",
        "signal=B:TERM@120",
        "requeue",
    ):
        assert f"#SBATCH --{option}" in asked
    assert asked[-1].endswith('.json "$SLURM_ARRAY_TASK_ID" requeue')


def test_whatever_ends_before_a_word_does_not_come_back_for_ever(slurm: Path) -> None:
    write_command(slurm / "cell", "sys.exit(1)")
    entries = [Entry(CELLS[0], slurm / "runs" / CELLS[0].name)]
    watch(entries, scheduler(slurm), retries=0, show=lambda _: None, stopped=lambda: False)
    assert entries[0].state == "failed" and "log" in entries[0].message
    assert len((slurm / "arrays").read_text().splitlines()) == 1 + 20


@pytest.mark.parametrize(("word", "calls"), [("Invalid partition", 1), ("Socket timed out", 6)])
def test_what_slurm_refuses_is_told(word: str, calls: int, slurm: Path) -> None:
    body = f"open(HERE / 'asked', 'a').write('x'); sys.exit('sbatch: error: {word}')"
    write_command(slurm / "sbatch", body)
    with pytest.raises(ConfigError, match=rf"Slurm refused the jobs: .*{word}"):
        scheduler(slurm).submit(CELLS, 1)
    assert (slurm / "asked").read_text() == "x" * calls


def test_nothing_is_submitted_while_squeue_does_not_answer(slurm: Path) -> None:
    write_command(slurm / "squeue", "sys.exit('slurm_load_jobs error: no controller')")
    with pytest.raises(ConfigError, match=r"squeue ended with exit code 1 .*no controller"):
        run(slurm)
    assert not (slurm / "calls").exists()


def test_without_slurm_the_other_way_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"sbatch and squeue .*--executor=local"):
        sweep({"a": digits.get_config()}, [1], [1], tmp_path / "runs", OPTIONS)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (OPTIONS._replace(minutes=0), "--minutes is needed"),
        (OPTIONS._replace(executor="pbs"), '"local" or "slurm"'),
        (OPTIONS._replace(slurm={"array": "0-9"}), "--slurm=array='0-9' cannot"),
        (OPTIONS._replace(slurm={"comment": "a\nb"}), "cannot be given"),
        (Options(parallel=0), "--parallel must be at least 1"),
        (Options(gpus=-1), "--gpus .* at least 0"),
    ],
)
def test_options_that_cannot_be_are_told(options: Options, message: str, slurm: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        check_options(options)
