"""Real sweeps on this machine: killed, stopped and failed ones."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from dpl_jax.errors import Interrupted, RunFolderError
from dpl_jax.runs.lock import in_use, lock_folder
from dpl_jax.studies.sweep import cluster
from dpl_jax.studies.sweep.cluster import Options
from dpl_jax.studies.sweep.grid import Cell, make_cells, read_datasets
from dpl_jax.studies.sweep.plan import Plan, make_jobs_folder, read_plan, write_plan
from dpl_jax.studies.sweep.sweep import sweep
from tests.studies.sweep.command import start, wait_for

HERE = Options(gpus=0)
FIRST, SECOND = (Path("photos/shots2") / f"seed{seed}" for seed in (1, 2))


def stage_runs(workdir: Path) -> dict[str, int]:
    """How often each stage went through its last step, by the logs of the jobs."""
    logs = "\n".join(path.read_text() for path in (workdir / "jobs").glob("*.log"))
    ends = re.findall(r"^(search|train|evaluate) (\d+)/\2\b", logs, flags=re.MULTILINE)
    names = [name for name, _ in ends]
    return {name: names.count(name) for name in ("search", "train", "evaluate")}


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """What tells a file that was written again from one that was not."""
    found = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
    return {
        str(path): (stat.st_ino, stat.st_mtime_ns)
        for path, stat in found.items()
        if path.name not in ("lock", "outcome.json")
    }


def test_a_sweep_killed_and_then_stopped_does_no_work_twice(
    photos: Path, settings: list[str], datasets: dict[str, ConfigDict], tmp_path: Path
) -> None:
    workdir = tmp_path / "runs"
    killed = start(photos, settings, workdir)
    wait_for(lambda: in_use(workdir / FIRST), killed)
    with pytest.raises(RunFolderError, match=f"in use by process {killed.pid} "):
        sweep(datasets, [2], [1, 2], workdir, HERE)
    killed.kill()
    killed.communicate()

    stopped = start(photos, settings, workdir)
    wait_for(lambda: (workdir / SECOND / "search" / "configuration.json").exists(), stopped)
    stopped.send_signal(signal.SIGINT)
    said = stopped.communicate(timeout=600)[1]
    assert stopped.returncode == 130, said
    assert "The sweep was stopped by SIGINT: 0 failed, 1 finished" in said
    assert f"The same command with --workdir={workdir} goes on from there." in said
    assert not in_use(workdir / SECOND)
    before = stamps(workdir / FIRST) | stamps(workdir / SECOND / "search")

    record = sweep(datasets, [2], [1, 2], workdir, HERE, progress="off")
    assert stage_runs(workdir) == {"search": 2, "train": 2, "evaluate": 2}
    assert before.items() <= stamps(workdir).items()
    assert not record["unfinished"] and not list(workdir.rglob("outcome.json"))

    for run in record["runs"]:
        results = json.loads((workdir / run["train"] / "results.json").read_text())
        assert run["test"] == results["evaluations"]["test"] and run["seed"] == results["seed"]
    after = stamps(workdir / FIRST) | stamps(workdir / SECOND)
    assert sweep(datasets, [2], [1, 2], workdir, HERE, progress="off") == record
    assert stamps(workdir / FIRST) | stamps(workdir / SECOND) == after


def test_a_cell_that_failed_goes_on_with_the_stage_that_failed(
    datasets: dict[str, ConfigDict], tmp_path: Path
) -> None:
    workdir, image = tmp_path / "runs", tmp_path / "photos" / "test" / "thing 0" / "0.png"
    good = image.read_bytes()
    image.write_bytes(b"no image")
    record = sweep(datasets, [2], [1], workdir, HERE, retries=0, progress="off")
    assert list(record["unfinished"]) == ["photos/shots2/seed1"]
    assert str(image) in record["unfinished"]["photos/shots2/seed1"]
    assert record["rows"] == [] and (workdir / "table.md").is_file()
    image.write_bytes(good)
    record = sweep(datasets, [2], [1], workdir, HERE, progress="off")
    assert record["unfinished"] == {} and len(record["runs"]) == 1
    runs = stage_runs(workdir)
    assert (runs["search"], runs["train"]) == (1, 1)


def test_a_cell_that_is_stopped_ends_with_75_and_goes_on_from_its_checkpoint(
    photos: Path, settings: list[str], tmp_path: Path
) -> None:
    epochs, workdir = 40, tmp_path / "runs"
    more = [f"search.epochs={epochs}", "checkpoint.every_epochs=1"]
    stopped = start(photos, [*settings, *more], workdir, "--cell=1")
    metrics = workdir / SECOND / "search" / "metrics.jsonl"
    wait_for(metrics.exists, stopped)
    stopped.terminate()
    said = stopped.communicate(timeout=600)[1]
    assert stopped.returncode == 75, said
    outcome = json.loads((workdir / SECOND / "outcome.json").read_text())
    assert outcome["state"] == "interrupted"
    goes_on = start(photos, [*settings, *more], workdir, "--cell=1")
    said = goes_on.communicate(timeout=600)[1]
    assert goes_on.returncode == 0, said
    rows = [json.loads(line)["epoch"] for line in metrics.read_text().splitlines()]
    assert rows == list(range(1, epochs + 1))
    assert not (workdir / FIRST).exists() and not (workdir / SECOND / "outcome.json").exists()
    listed = start(photos, settings, workdir, "--print_cells").communicate(timeout=600)[0]
    assert listed == f"0\t{FIRST}\topen\n1\t{SECOND}\tfinished\n"


def test_ctrl_c_leaves_alone_what_is_not_its_own(
    datasets: dict[str, ConfigDict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ctrl_c(_: float) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("dpl_jax.studies.sweep.watch.time.sleep", ctrl_c)
    workdir, bystander = tmp_path / "runs", subprocess.Popen(["sleep", "600"])
    (workdir / FIRST).mkdir(parents=True)
    with lock_folder(workdir / FIRST) as lock:
        lock.truncate(0)
        lock.write(json.dumps({"host": "elsewhere", "pid": bystander.pid}))
        lock.flush()
        with pytest.raises(Interrupted, match="0 failed, 0 finished, 1 running"):
            sweep(datasets, [2], [1], workdir, HERE, progress="off")
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_jobs_side_by_side_have_gpus_of_their_own_even_beside_those_of_a_killed_sweep(
    datasets: dict[str, ConfigDict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = f"import os; name = {str(tmp_path)!r} + '/' + os.environ['CUDA_VISIBLE_DEVICES']"
    code += "; open(name, 'w').close(); open(name + '.end').read()"  # ends when it is told to
    monkeypatch.setattr(cluster, "_command", lambda plan: [sys.executable, "-c", code])
    shares = ["0,1", "2,3", "4,5"]
    for share in shares:
        os.mkfifo(tmp_path / f"{share}.end")

    def end(share: str) -> None:
        (tmp_path / share).unlink()
        (tmp_path / f"{share}.end").write_text("")

    plan = Plan(tmp_path / "runs", datasets, make_cells(datasets, [2], range(4)))
    killed, later = (cluster.Local(Options(parallel=2, gpus=2), plan) for _ in range(2))
    assert killed.submit(plan.cells, 2) == 2
    wait_for(lambda: all((tmp_path / share).exists() for share in shares[:2]))
    end("0,1")
    wait_for(lambda: len(killed.alive()) == 1)
    assert later.alive() == {} and later.submit(plan.cells[2:], 2) == 2
    wait_for(lambda: all((tmp_path / share).exists() for share in shares))
    assert len(later.alive()) == 2 and len(killed.alive()) == 1
    for share in shares:
        end(share)
    wait_for(lambda: not killed.alive() and not later.alive())


def test_plans_lie_in_a_folder_of_the_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jobs").mkdir(mode=0o775)
    assert stat.S_IMODE(make_jobs_folder(tmp_path).stat().st_mode) == 0o700
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(RunFolderError, match=r"jobs .* belongs to another user"):
        make_jobs_folder(tmp_path)


def test_a_job_reads_the_same_files_wherever_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clip").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DPL_DATA_ROOT", "images")
    settings = ["clip.path=clip", "data.cache_dir=cache"]
    configs = read_datasets(["dtd"], settings) | read_datasets(["eurosat"], ["data.root=own"])
    cells = [Cell("dtd", 1, 1), Cell("eurosat", 1, 1)]
    path = write_plan(Plan(Path("runs"), configs, cells), cells)
    monkeypatch.chdir("/")
    monkeypatch.setenv("DPL_DATA_ROOT", "others")
    plan = read_plan(path)
    dtd, eurosat = plan.configs["dtd"], plan.configs["eurosat"]
    read = (dtd.clip.path, dtd.data.root, dtd.data.cache_dir, eurosat.data.root, plan.workdir)
    assert [Path(place).relative_to(tmp_path).name for place in read] == [
        "clip", "images", "cache", "own", "runs",
    ]  # fmt: skip
    assert eurosat.clip.path == "openai/clip-vit-base-patch16"
