"""The examples run every cell of a sweep once; by schemas, dry runs and commands that stand in."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.examples.test_examples import EXAMPLES, objects, started, tool

FLAGS = ["--datasets=a,b", "--set=data.name=it's {mine}"]
DPL_SWEEP = """#!/bin/bash
for word; do
  if [[ $word == --print_cells ]]; then printf '0\\ta\\topen\\n1\\tb\\tfinished\\n'; exit; fi
done
{ echo "$CUDA_VISIBLE_DEVICES"; printf '%s\\n' "$@"; } > "${0%/*}/${word#--}.$RANDOM"
[[ $word != --cell=1 ]] || ls "${0%/*}"/cell=1.* | awk 'END {exit NR < 2 ? 75 : 0}'
"""
RAY = """
def remote(**options):
    assert options["num_gpus"] == 1
    def wrap(function):
        function.remote = function
        return function
    return wrap
def init(): pass
def get(found): return found
"""


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """A folder with a dpl-sweep that keeps what it is given; cell 1 is interrupted once."""
    (tmp_path / "dpl-sweep").write_text(DPL_SWEEP)
    (tmp_path / "dpl-sweep").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def calls(folder):
    """The words of every call that ran a cell."""
    found = sorted(folder.glob("cell=*"))
    return [path.read_text().splitlines()[1:] for path in found]


def test_ray_runs_every_cell_and_goes_on_with_one_that_was_stopped(commands):
    (commands / "ray.py").write_text(RAY)
    environment = os.environ | {"PYTHONPATH": str(commands)}
    command = [sys.executable, str(EXAMPLES / "sweep-ray.py"), *FLAGS]
    subprocess.run(command, env=environment, check=True)
    assert calls(commands) == [[*FLAGS, f"--cell={index}"] for index in (0, 1, 1)]


def test_gnu_parallel_is_given_every_cell(commands):
    if shutil.which("parallel") is None:
        pytest.skip("GNU parallel is not installed")
    environment = os.environ | {"DRY_RUN": "--dry-run", "GPUS": "2"}
    command = ["bash", str(EXAMPLES / "sweep-parallel.sh"), *FLAGS]
    said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    for line in said.stdout.splitlines():
        subprocess.run(["bash", "-c", line])
    assert calls(commands) == [[*FLAGS, f"--cell={index}"] for index in (0, 1)]


def test_the_script_for_gnu_parallel_has_no_slip():
    command = [tool("shellcheck"), str(EXAMPLES / "sweep-parallel.sh")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_each_pod_of_the_job_runs_the_cell_of_its_index():
    (job,) = objects("sweep-kubernetes.yaml")
    given = started(job, 7)
    assert given[0] == "dpl-sweep" and given[-1] == "--cell=7"
    rules = job["spec"]["podFailurePolicy"]["rules"]
    actions = {tuple(rule.get("onExitCodes", {}).get("values", ())): rule for rule in rules}
    assert actions[75,]["action"] == "Ignore" and actions[1,]["action"] == "FailIndex"
    # Two datasets, five numbers of shots, three seeds.
    assert job["spec"]["completions"] == 2 * 5 * 3


def test_skypilot_starts_the_cell_that_it_is_told(commands):
    yaml = pytest.importorskip("yaml")
    task = yaml.safe_load((EXAMPLES / "sweep-skypilot.yaml").read_text())
    known = {"name", "workdir", "resources", "envs", "file_mounts", "setup", "run"}
    assert task.keys() <= known
    environment = os.environ | task["envs"] | {"CELL": "4"}
    subprocess.run(["bash", "-c", task["run"]], env=environment, check=True)
    (given,) = calls(commands)
    assert given[-1] == "--cell=4"
    assert all(f"={mount}" in " ".join(given) for mount in task["file_mounts"])


@pytest.mark.parametrize("name", ["sweep-kubernetes.yaml", "sweep-skypilot.yaml"])
def test_the_files_are_tidy(name):
    rules = "{extends: default, rules: {document-start: disable, line-length: {max: 100}}}"
    command = [tool("yamllint"), "--strict", "-d", rules, str(EXAMPLES / name)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
