"""Real processes that carry out one run together, over the loopback interface."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from configs import digits
from dpl_jax.data.feed import _positions
from dpl_jax.errors import ConfigError
from dpl_jax.evaluate import evaluate
from dpl_jax.files.json import read_json
from dpl_jax.runs import checkpoints
from dpl_jax.runtime import processes as machines
from dpl_jax.search import search
from tests.support.repository import ROOT
from tests.support.small_clip import random_tensors, small_config, write_clip

SETTINGS: dict[str, Any] = {
    "search.max_context_length": 2,
    "search.epochs": 8,
    "search.batch_size": 3,
    "checkpoint.every_epochs": 1,
    "checkpoint.keep": 100,
    "report": False,
}
SECONDS = 200  # far more than anything here takes
LOST = ("has lost another one", "Terminating process because the JAX distributed service")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("machines")
    config = small_config({"num_hidden_layers": 1}, {"num_hidden_layers": 2})
    write_clip(folder / "clip", config, random_tensors(config))
    return folder


@pytest.fixture(scope="module")
def alone(files: Path) -> Path:
    """The search of one process."""
    config = digits.get_config("shots=2,seed=3")
    config.update_from_flattened_dict(
        SETTINGS | {"clip.path": str(files / "clip"), "progress": "off"}
    )
    return search(config, files / "alone")


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def start(arguments: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"JAX_NUM_CPU_DEVICES": "1", "PYTHONPATH": str(ROOT)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_search(files: Path, processes: int, **settings: Any) -> list[subprocess.Popen[str]]:
    """The search in FILES/together, by flags."""
    given = SETTINGS | {"clip.path": files / "clip"}
    given |= {name.replace("__", "."): value for name, value in settings.items()}
    command = ["launch/search.py", "--config=configs/digits.py:shots=2,seed=3"]
    command += [f"--config.{name}={value}" for name, value in given.items()]
    command += [f"--workdir={files / 'together'}", f"--coordinator=127.0.0.1:{free_port()}"]
    command += [f"--num_processes={processes}"]
    return [start([*command, f"--process_id={number}"], {}) for number in range(processes)]


def ends(processes: Sequence[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of each; all end within SECONDS, or the test fails."""
    try:
        outputs = [process.communicate(timeout=SECONDS) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(each.returncode, *output) for each, output in zip(processes, outputs, strict=True)]


@pytest.fixture(scope="module")
def killed(files: Path) -> list[tuple[int, str, str]]:
    """Four processes, of which the third is killed after the first checkpoint."""
    processes = start_search(files, 4)
    first, late = files / "together/checkpoints/6", time.monotonic() + SECONDS
    while not first.exists():
        assert time.monotonic() < late and processes[2].poll() is None, ends(processes)
        time.sleep(0.02)
    processes[2].send_signal(signal.SIGKILL)
    return ends(processes)


@pytest.fixture(scope="module")
def resumed(files: Path, killed: list[Any]) -> list[tuple[int, str, str]]:
    """The same command with two processes, and images that they feed from the host."""
    done = len((files / "together/metrics.jsonl").read_text().splitlines())
    assert 1 <= done < SETTINGS["search.epochs"]
    return ends(start_search(files, 2, data__device_memory_mb=0))


def test_when_one_is_killed_all_others_leave_with_an_error(
    files: Path, killed: list[tuple[int, str, str]]
) -> None:
    assert killed[2][0] == -signal.SIGKILL
    for code, _, errors in (killed[0], killed[1], killed[3]):
        assert code not in (0, 75, 130)
        assert any(words in errors for words in LOST), errors


def test_fewer_processes_go_on_and_end_as_one_alone_would_have(
    files: Path, alone: Path, resumed: list[tuple[int, str, str]]
) -> None:
    assert [code for code, _, _ in resumed] == [0, 0], resumed
    one, other = checkpoints.load(alone), checkpoints.load(files / "together")
    assert one.step == other.step == 6 * SETTINGS["search.epochs"]
    pairs = zip(jax.tree.leaves(one.tree), jax.tree.leaves(other.tree), strict=True)
    for ours, theirs in pairs:
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-4 * np.abs(ours).max(initial=1e-6))
    expected, found = (read_json(run / "results.json") for run in (alone, files / "together"))
    assert found["lengths"] == expected["lengths"]
    assert found["sampled_files"] == expected["sampled_files"]


def test_the_first_process_alone_writes_and_tells(
    files: Path, alone: Path, resumed: list[tuple[int, str, str]]
) -> None:
    assert "Search finished" in resumed[0][1] and "Search" not in resumed[1][1]
    assert "search 8/8" in resumed[0][2] and "search" not in resumed[1][2]
    metrics = (files / "together/metrics.jsonl").read_text()
    rows = [json.loads(line) for line in metrics.splitlines()]
    assert [row["epoch"] for row in rows] == list(range(1, 9))
    names = [{path.name for path in run.iterdir()} for run in (alone, files / "together")]
    assert names[0] == names[1]


def test_an_evaluation_under_slurm_is_that_of_one_process(
    files: Path, alone: Path, resumed: list[Any]
) -> None:
    """SLURM's variables as srun sets them; JAX reads them."""
    variables = {
        "SLURM_JOB_ID": "1",
        "SLURM_STEP_NODELIST": "127.0.0.1",
        "SLURM_NTASKS": "2",
        "JAX_COORDINATOR_PORT": str(free_port()),
    }
    command = ["launch/evaluate.py", f"--run={files / 'together'}", "--coordinator=auto"]
    tasks = [{"SLURM_PROCID": f"{task}", "SLURM_LOCALID": f"{task}"} for task in range(2)]
    found = ends([start(command, variables | task) for task in tasks])
    assert [code for code, _, _ in found] == [0, 0], found
    ours = read_json(files / "together/results.json")["evaluations"]["test"]
    expected = evaluate(files / "together")
    assert ours["images"] == 540
    for method in ("zero_shot", "dpl"):
        assert ours[method]["per_class"] == expected[method]["per_class"]


@pytest.mark.parametrize(("steps", "size"), [(1, 4), (3, 7), (2, 3)])
@pytest.mark.parametrize("processes", [1, 2, 4])
def test_every_step_finds_its_images_whoever_has_read_them(
    steps: int, size: int, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jax.process_count", lambda: processes)
    order = np.arange(steps * size).reshape(steps, size)
    read = np.concatenate([order[:, part].reshape(-1) for part in machines.parts(size)])
    np.testing.assert_array_equal(read[_positions(steps, size)], order)
    assert len(machines.parts(size)) == (processes if size >= processes else 1)


def test_flags_that_say_too_little_are_refused() -> None:
    with pytest.raises(ConfigError, match="--num_processes"):
        machines.join("127.0.0.1:1", None, 0)


@pytest.mark.parametrize("address", ["12345", "host", "host:", ":12345", "host:0", "host:65536"])
def test_an_address_is_host_and_port(address):
    with pytest.raises(ConfigError, match=r"--coordinator=.*host:port"):
        machines.join(address, 2, 0)
    with pytest.raises(ConfigError, match=r"--coordinator_bind_address=.*host:port"):
        machines.join("auto", None, None, address)


@pytest.mark.parametrize(
    ("bind", "where"), [(None, "all interfaces"), ("10.0.0.7:1", "10.0.0.7:1")]
)
def test_where_process_0_listens_is_settable_and_told(bind, where, monkeypatch, caplog):
    given = {}
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    monkeypatch.setattr(jax.distributed, "initialize", lambda *_, **named: given.update(named))
    machines.join("10.0.0.7:1", 2, 0, bind)
    assert given["coordinator_bind_address"] == bind
    (line,) = caplog.messages
    assert f"listens on {where} without a password: on a trusted network" in line
