"""The examples pass their linters, and the Slurm script puts back what asks for it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SCRIPT = EXAMPLES / "slurm.sh"


def tool(name):
    """A linter of the dev extra, beside the Python or on the path."""
    folders = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    found = shutil.which(name, path=folders)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.mark.parametrize(
    "command", [("shellcheck", str(SCRIPT)), ("hadolint", str(EXAMPLES / "Containerfile"))]
)
def test_a_linter_finds_nothing(command):
    done = subprocess.run([tool(command[0]), *command[1:]], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("code", "requeued"), [(0, False), (1, False), (75, True)])
def test_only_a_run_with_a_checkpoint_goes_back_to_the_queue(code, requeued, tmp_path):
    for name, line in (("srun", '"$@"'), ("scontrol", f'echo "$@" > "{tmp_path}/asked"')):
        (tmp_path / name).write_text(f"#!/bin/bash\n{line}\n")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "SLURM_JOB_ID": "7"}
    command = ["bash", str(SCRIPT), "bash", "-c", f"exit {code}"]
    assert subprocess.run(command, env=environment).returncode == code
    asked = tmp_path / "asked"
    assert asked.exists() == requeued
    assert not requeued or asked.read_text() == "requeue 7\n"


def objects(name):
    """The Kubernetes objects in an example, each held against its schema."""
    validate = pytest.importorskip("kubernetes_validate")
    yaml = pytest.importorskip("yaml")
    found = list(yaml.safe_load_all((EXAMPLES / name).read_text()))
    for each in found:
        validate.validate(each, "1.31", strict=True)
    return found


def started(job, index):
    """The words that the pod of this index starts."""
    (container,) = job["spec"]["template"]["spec"]["containers"]
    line = container["args"][0].replace("exec", "echo", 1)
    environment = os.environ | {"JOB_COMPLETION_INDEX": str(index)}
    command = [*container["command"], line]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return said.stdout.split()


def test_each_pod_of_the_job_searches_with_a_seed_of_its_own():
    (job,) = objects("kubernetes-job.yaml")
    given = started(job, 2)
    assert given[:2] == ["dpl-search", "--config=caltech101:seed=3"]
    assert given[-1] == "--workdir=/work/runs/seed3"


def test_the_pods_of_several_hosts_find_each_other():
    service, job = objects("kubernetes-several-hosts.yaml")
    spec, template = job["spec"], job["spec"]["template"]["spec"]
    name, subdomain = job["metadata"]["name"], service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None" and template["subdomain"] == subdomain
    assert service["spec"]["selector"] == {"job-name": name}
    assert spec["completionMode"] == "Indexed" and spec["parallelism"] == spec["completions"]
    (port,) = template["containers"][0]["ports"]
    for index in range(spec["completions"]):
        given = dict(word.split("=", 1) for word in started(job, index)[1:])
        assert given["--coordinator"] == f"{name}-0.{subdomain}:{port['containerPort']}"
        assert given["--num_processes"] == str(spec["completions"])
        assert given["--process_id"] == str(index)
        assert given["--workdir"] == "/work/runs/hosts"


@pytest.mark.parametrize("name", ["kubernetes-job.yaml", "kubernetes-several-hosts.yaml"])
def test_the_jobs_are_tidy(name):
    rules = "{extends: default, rules: {document-start: disable, line-length: {max: 100}}}"
    command = [tool("yamllint"), "--strict", "-d", rules, str(EXAMPLES / name)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
