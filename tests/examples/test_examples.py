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
        if each["kind"] == "JobSet":  # no part of Kubernetes' own schema, but the jobs in it are
            assert each["apiVersion"] == "jobset.x-k8s.io/v1alpha2"
            for inner in each["spec"]["replicatedJobs"]:
                job = {"apiVersion": "batch/v1", "kind": "Job", **inner["template"]}
                validate.validate(job, "1.31", strict=True)
        else:
            validate.validate(each, "1.31", strict=True)
    return found


def jobs():
    """The specs of all jobs in the examples, and what exit code 1 means in them."""
    (single,) = objects("kubernetes-job.yaml")
    _, several = objects("kubernetes-several-hosts.yaml")
    (inner,) = several["spec"]["replicatedJobs"]
    return [(single["spec"], "FailIndex"), (inner["template"]["spec"], "FailJob")]


def started(job, index):
    """The words that the pod of this index starts."""
    (container,) = job["spec"]["template"]["spec"]["containers"]
    line = container["args"][0].replace("exec", "echo", 1)
    assert container["command"][:2] == ["/usr/bin/tini", "--"]
    environment = os.environ | {"JOB_COMPLETION_INDEX": str(index)}
    command = [*container["command"][2:], line]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return said.stdout.split()


def test_each_pod_of_the_job_searches_with_a_seed_of_its_own():
    (job,) = objects("kubernetes-job.yaml")
    given = started(job, 2)
    assert given[:2] == ["dpl-search", "--config=caltech101:seed=3"]
    assert given[-1] == "--workdir=/work/runs/seed3"


def test_the_pods_of_several_hosts_find_each_other():
    policy, jobset = objects("kubernetes-several-hosts.yaml")
    (replicated,) = jobset["spec"]["replicatedJobs"]
    network, job = jobset["spec"]["network"], replicated["template"]
    assert network["enableDNSHostnames"] and network["publishNotReadyAddresses"]
    assert replicated["replicas"] == 1 and jobset["spec"]["failurePolicy"]["maxRestarts"] > 0
    spec, pod = job["spec"], job["spec"]["template"]
    assert spec["completionMode"] == "Indexed" and spec["parallelism"] == spec["completions"]
    (port,) = pod["spec"]["containers"][0]["ports"]
    # JobSet calls pods JOBSET-JOB-REPLICA-INDEX.SUBDOMAIN.
    first = f"{jobset['metadata']['name']}-{replicated['name']}-0-0.{network['subdomain']}"
    for index in range(spec["completions"]):
        given = dict(word.split("=", 1) for word in started(job, index)[1:])
        assert given["--coordinator"] == f"{first}:{port['containerPort']}"
        assert given["--num_processes"] == str(spec["completions"])
        assert given["--process_id"] == str(index)
        assert given["--workdir"] == "/work/runs/hosts"
    own = {"matchLabels": pod["metadata"]["labels"]}
    assert policy["spec"]["podSelector"] == own and policy["spec"]["policyTypes"] == ["Ingress"]
    assert policy["spec"]["ingress"] == [{"from": [{"podSelector": own}]}]


def test_pods_are_restricted_and_have_what_jax_needs():
    for spec, _ in jobs():
        pod = spec["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume.pop("name"): volume for volume in pod["volumes"]}
        assert volumes[mounts["/dev/shm"]]["emptyDir"]["medium"] == "Memory"
        assert "persistentVolumeClaim" in volumes[mounts["/work/runs"]]
        caches = {each["name"]: each["value"] for each in container["env"]}
        assert caches["HF_HOME"].startswith("/work/runs/")
        assert caches["XDG_CACHE_HOME"].startswith("/work/runs/")


def test_only_failures_count():
    """Kubernetes takes the first rule that matches; the rest counts against the limit."""
    for spec, action in jobs():
        assert spec["template"]["spec"]["restartPolicy"] == "Never"
        disrupted, stopped, wrong = spec["podFailurePolicy"]["rules"]
        (condition,) = disrupted["onPodConditions"]
        assert disrupted["action"] == "Ignore" and condition["type"] == "DisruptionTarget"
        assert stopped["action"] == "Ignore" and stopped["onExitCodes"]["values"] == [75]
        assert wrong["action"] == action and wrong["onExitCodes"]["values"] == [1]
        assert action != "FailIndex" or spec["backoffLimitPerIndex"] > 0
        (container,) = spec["template"]["spec"]["containers"]
        for rule in (stopped, wrong):
            assert rule["onExitCodes"]["containerName"] == container["name"]


@pytest.mark.parametrize(
    ("base", "code"),
    [
        ("python:3.12", 1),
        ("", 1),
        ("python@sha256:abc", 1),
        (f"python:3.12@sha256:{'0' * 64}", 0),
    ],
)
def test_the_container_is_built_from_a_digest_alone(base, code):
    text = (EXAMPLES / "Containerfile").read_text()
    check = text[text.index("RUN case") + 4 :].partition("\nCOPY")[0]
    command = ["/bin/sh", "-c", check]
    done = subprocess.run(command, env={"BASE": base}, capture_output=True, text=True)
    assert done.returncode == code and ("needed" in done.stderr) == bool(code)
    assert all("${BASE}" in line for line in text.splitlines() if line.startswith("FROM"))
    assert 'ENTRYPOINT ["/usr/bin/tini", "--"]' in text


def test_what_the_container_downloads_has_hashes():
    """The other steps of pip ask for nothing, and those that build fetch no build tools."""
    text = (EXAMPLES / "Containerfile").read_text().replace("\\\n", " ")
    instructions = [line for line in text.splitlines() if line.startswith("RUN")]
    steps = [step.strip() for line in instructions for step in line.split("&&") if "pip " in step]
    assert steps.pop() == "pip check"  # what was installed fits together
    assert len(steps) == 4
    rules = (EXAMPLES / "Containerfile.dockerignore").read_text().splitlines()
    for step in steps:
        words = set(step.split())
        assert {"--require-hashes", "-r"} <= words or {"--no-index", "--no-deps"} <= words, step
        assert "pip wheel" not in step or "--no-build-isolation" in step, step
    locks = {word for step in steps for word in step.split() if word.endswith("-lock.txt")}
    for lock in locks | {"requirements-lock.txt", "requirements-cuda12-lock.txt"}:
        assert f"!{lock}" in rules and (EXAMPLES.parent / lock).exists()
    assert "ARG LOCK=requirements-lock.txt" in text and "curl" not in text


def test_the_container_is_built_from_what_the_wheel_needs_alone():
    lines = (EXAMPLES / "Containerfile.dockerignore").read_text().splitlines()
    rules = [line for line in lines if not line.startswith("#")]
    assert rules[0] == "*"
    for rule in rules:
        assert not rule.startswith("!") or (EXAMPLES.parent / rule[1:]).exists()


@pytest.mark.parametrize("name", ["kubernetes-job.yaml", "kubernetes-several-hosts.yaml"])
def test_the_jobs_are_tidy(name):
    rules = "{extends: default, rules: {document-start: disable, line-length: {max: 100}}}"
    command = [tool("yamllint"), "--strict", "-d", rules, str(EXAMPLES / name)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
