"""What Slurm is asked for, by commands that stand in for its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from dpl_jax.errors import ConfigError
from dpl_jax.sweep.cell import CellJob
from dpl_jax.sweep.cluster import Options, Running, adopt, make_executor, submit

OPTIONS = Options("slurm", 3, 240, 2, 8, "gpu", {"account": "vision"})
SBATCH = '#!/bin/sh\ncp "$1" "{folder}/script"\necho "Submitted batch job 77"\n'
SACCT = "#!/bin/sh\necho 'JobID|State|NodeList'\necho '77_0|RUNNING|n1'\necho '77_1|PENDING|'\n"
REFUSES = '#!/bin/sh\necho "sbatch: error: invalid partition" >&2\nexit 1\n'


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with commands that come before all others."""
    commands = {"srun": "#!/bin/sh\n", "sacct": SACCT, "sbatch": SBATCH.format(folder=tmp_path)}
    for name, script in commands.items():
        write_command(tmp_path / name, script)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def write_command(path: Path, script: str) -> None:
    path.write_text(script)
    path.chmod(0o755)


def submit_two(folder: Path) -> list[Running]:
    executor = make_executor(OPTIONS, folder / "jobs")
    jobs = [CellJob(ConfigDict(), folder / str(number)) for number in range(2)]
    return submit(executor, OPTIONS, jobs, [0, 1])


def test_cells_are_one_array_with_what_was_asked_for(slurm: Path) -> None:
    jobs = submit_two(slurm)
    asked = (slurm / "script").read_text().splitlines()
    for option in (
        "partition=gpu",
        "time=240",
        "gpus-per-node=2",
        "cpus-per-task=8",
        "account=vision",
        "array=0-1%2",
        "signal=USR2@120",
        "requeue",
    ):
        assert f"#SBATCH --{option}" in asked
    assert [job.id for job in jobs] == ["77_0", "77_1"]
    assert len(list((slurm / "jobs").glob("77_*_submitted.pkl"))) == 2


def test_jobs_are_as_far_as_slurm_says_and_are_not_stopped(slurm: Path) -> None:
    jobs = submit_two(slurm)
    assert [job.queued() for job in jobs] == [False, True]
    assert not any(job.done() or job.stop() for job in jobs)


def test_jobs_that_slurm_still_has_are_taken_up(slurm: Path) -> None:
    found = adopt(OPTIONS, slurm / "jobs", "77_1", slurm)
    assert found is not None and found.queued()
    write_command(slurm / "sacct", SACCT.replace("77_1|PENDING", "78_1|CANCELLED by 0"))
    assert adopt(OPTIONS, slurm / "jobs", "78_1", slurm) is None


def test_what_slurm_refuses_is_told(slurm: Path) -> None:
    write_command(slurm / "sbatch", REFUSES)
    with pytest.raises(ConfigError, match=r"Slurm refused the jobs: .*invalid partition"):
        submit_two(slurm)


def test_without_slurm_the_other_way_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"commands of Slurm .*--executor=local"):
        make_executor(OPTIONS, tmp_path / "jobs")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (OPTIONS._replace(minutes=0), "--minutes is needed"),
        (OPTIONS._replace(executor="pbs"), '"local" or "slurm"'),
        (Options(parallel=0), "--parallel must be at least 1"),
        (Options(gpus=-1), "--gpus .* at least 0"),
    ],
)
def test_options_that_cannot_be_are_told(options: Options, message: str, slurm: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        make_executor(options, slurm / "jobs")
