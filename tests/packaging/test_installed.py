"""The wheel, installed into an environment of its own, works from an empty folder."""

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import dpl_jax.runtime.launchers
from dpl_jax.files.json import read_json
from tests.support.repository import ROOT


def run(*command, cwd):
    """The command without anything of this checkout in its way; its stdout."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-d", folder, cwd=ROOT)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def commands(wheel, tmp_path_factory):
    """The folder of the console commands of a new environment, which borrows the dependencies."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, symlinks=True)
    installed = sysconfig.get_path("purelib", vars={"base": str(folder)})
    Path(installed, "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    pip = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python")
    run(*pip, "install", "-q", "--no-deps", "--no-index", wheel, cwd=folder)
    return folder / "bin"


def files(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if "dist-info" not in name}


def test_the_wheel_has_every_file_of_the_package_the_launchers_and_the_configs(wheel):
    expected = {
        "dpl_jax/" * (folder != "dpl_jax") + str(path.relative_to(ROOT)): path.read_bytes()
        for folder in ("dpl_jax", "launch", "configs")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files(wheel) == expected
    assert "dpl_jax/assets/tiny_clip/model.safetensors" in expected


def test_the_sdist_makes_the_same_wheel(wheel, tmp_path):
    (sdist,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=source)
    assert files(tmp_path / wheel.name) == files(wheel)


def test_every_launcher_has_a_console_command():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    launchers = {path.stem for path in (ROOT / "launch").glob("*.py")}
    assert scripts == {
        f"dpl-{name.replace('_', '-')}": f"dpl_jax.runtime.launchers:{name}" for name in launchers
    }
    assert all(callable(getattr(dpl_jax.runtime.launchers, name)) for name in launchers)
    with pytest.raises(AttributeError, match="no launcher"):
        _ = dpl_jax.runtime.launchers.no_such_launcher


def test_the_commands_work_from_an_empty_folder(commands, tmp_path):
    config = ("--config=configs/digits.py:shots=1,T=2", "--config.search.epochs=1")
    config = (*config, "--config.train.epochs=1")
    told = run(commands / "dpl-search", *config, "--workdir=RUN", cwd=tmp_path)
    (pasted,) = re.findall("^Next: (.*)$", told, re.MULTILINE)
    (tmp_path / "elsewhere").mkdir()
    told = run("sh", "-c", pasted, cwd=tmp_path / "elsewhere")
    (trained,) = (tmp_path / "elsewhere" / "runs").iterdir()
    assert (
        read_json(trained / "configuration.json")["lengths"]
        == (read_json(tmp_path / "RUN" / "configuration.json")["lengths"])
    )
    assert f"Next: {commands / 'dpl-evaluate'} --run={trained}\n" in told
    told = run(commands / "dpl-evaluate", "--run=RUN", cwd=tmp_path)
    results = read_json(tmp_path / "RUN" / "results.json")["evaluations"]["test"]
    assert f"{100 * results['dpl']['accuracy']:.2f}" in told
    assert results["zero_shot"]["accuracy"] == pytest.approx(0.6593, abs=0.01)  # of the README
    page = (tmp_path / "RUN" / "report.html").read_text()
    assert "dpl-search" in page and "python launch/" not in page


def test_a_command_says_what_it_is_for_and_what_is_wrong(commands, tmp_path):
    environment = {**os.environ, "PYTHONPATH": ""}
    help_, wrong = (
        subprocess.run(
            [commands / "dpl-search", flag],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        for flag in ("--help", "--config=digitz")
    )
    assert "how many prompt tokens" in help_.stdout and "--workdir" in help_.stdout
    assert wrong.returncode == 1 and "caltech101, digits" in wrong.stderr
    assert "Traceback" not in wrong.stderr and not list(tmp_path.iterdir())
