"""Logging to Weights & Biases: with a stand-in for its package, and offline where it is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from configs import digits
from dpl_jax.config import check_config
from dpl_jax.errors import ConfigError, RunFolderError
from dpl_jax.runs.folder import open_run
from dpl_jax.runs.metrics import read_metrics, wandb_rows
from dpl_jax.search import search
from tests.support.repository import ROOT

STAND_IN = """
import json, pathlib

class Run:
    def __init__(self, file):
        self.file = file
    def note(self, **what):
        with self.file.open("a") as file:
            file.write(json.dumps(what) + "\\n")
    def log(self, row, step):
        self.note(row=row, step=step)
    def finish(self, exit_code=0):
        self.note(end=exit_code)

def init(*, dir, **settings):
    run = Run(pathlib.Path(dir) / "calls.jsonl")
    run.note(init=settings)
    return run
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "wandb.py").write_text(textwrap.dedent(STAND_IN))
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    yield
    sys.modules.pop("wandb", None)


def config_of(project: str) -> ConfigDict:
    return ConfigDict({"wandb": project, "seed": 3, "ablate": {"seeds": (1, 2)}})


def calls(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]


@pytest.mark.usefixtures("stand_in")
def test_a_search_logs_the_rows_of_its_metrics(tmp_path: Path) -> None:
    config = digits.get_config("shots=1,T=1")
    config.search.epochs = 2
    config.update({"wandb": "prompts", "progress": "off", "report": False})
    run = search(config, tmp_path / "my-run")
    first, *rows, last = calls(run)
    assert [(call["row"], call["step"]) for call in rows] == [
        (row, row["step"]) for row in read_metrics(run)
    ]
    assert len(rows) == 2 and last == {"end": 0}
    settings = first["init"]
    assert (settings["project"], settings["name"]) == ("prompts", "my-run")
    assert settings["job_type"] == "search" and settings["config"]["search"]["epochs"] == 2


@pytest.mark.usefixtures("stand_in")
def test_a_resumed_run_goes_on_under_its_id(tmp_path: Path) -> None:
    config = config_of("prompts")
    with open_run(tmp_path / "run", "search", config) as run:
        for step in (1, 2):
            with wandb_rows(run, config, "search") as log:
                log({"step": step, "loss": float("nan")})
        with pytest.raises(ZeroDivisionError), wandb_rows(run, config, "search"):
            raise ZeroDivisionError
    found = calls(tmp_path / "run")
    starts = [call["init"] for call in found if "init" in call]
    assert len(starts) == 3 and len({start["id"] for start in starts}) == 1
    assert all(start["resume"] == "allow" for start in starts)
    assert [call["row"] for call in found if "row" in call] == [
        {"step": step, "loss": None} for step in (1, 2)
    ]
    assert found[-1] == {"end": 1}
    with open_run(tmp_path / "other", "search", config) as run, wandb_rows(run, config, "search"):
        assert calls(run.path)[0]["init"]["id"] != starts[0]["id"]


def test_nothing_is_logged_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # importing it would fail
    config = config_of("")
    with open_run(tmp_path, "search", config) as run:
        with wandb_rows(run, config, "search") as log:
            log({"step": 1})
        assert not (run.path / "wandb").exists()


def test_a_missing_package_is_found_out_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    config = digits.get_config()
    check_config(config)
    config.wandb = "prompts"
    with pytest.raises(ConfigError, match=r"'prompts'.*not installed.*dpl_jax\[wandb\]"):
        search(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


REAL = """
import sys
from ml_collections import ConfigDict
from dpl_jax.runs.metrics import wandb_rows
from dpl_jax.runs.folder import open_run

config = ConfigDict({"wandb": "my-project", "seed": 3, "ablate": {"seeds": (1, 2)}})
with open_run(sys.argv[1], "search", config) as run:
    with wandb_rows(run, config, "search") as log:
        log({"step": 5, "train_loss": 0.25, "lengths": {"image": [1, 2]}})
        log({"step": 10, "train_loss": 0.0625})
"""


def test_the_real_package_offline(tmp_path: Path) -> None:
    """In a process of its own, since W&B writes its file to the end when the process ends."""
    pytest.importorskip("wandb", reason='needs pip install "dpl_jax[wandb]"')
    offline = {"WANDB_MODE": "offline", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", REAL, str(tmp_path)]
    subprocess.run(command, cwd=ROOT, env=os.environ | offline, check=True, capture_output=True)
    identity = (tmp_path / "wandb" / "id.txt").read_text()
    (file,) = (tmp_path / "wandb").glob(f"offline-run-*/run-{identity}.wandb")
    contents = file.read_bytes()
    for text in (b"my-project", b"train_loss", b"0.25", b"0.0625", b"lengths"):
        assert text in contents


@pytest.mark.usefixtures("stand_in")
def test_no_path_of_this_machine_is_logged(tmp_path: Path) -> None:
    config = config_of("prompts")
    config.update({"data": {"root": str(tmp_path / "photos")}, "clip": {"path": "/home/me/clip"}})
    with open_run(tmp_path / "run", "search", config) as run, wandb_rows(run, config, "search"):
        pass
    settings = calls(run.path)[0]["init"]["config"]
    assert (settings["data"]["root"], settings["clip"]["path"]) == ("photos", "clip")


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("written", ["../../x", "a" * 31, "0" * 32 + "\n", "", "x" * 5000])
def test_an_id_that_is_none_never_reaches_wandb(tmp_path: Path, written: str) -> None:
    config = config_of("prompts")
    with open_run(tmp_path / "run", "search", config) as run:
        (run.path / "wandb").mkdir()
        (run.path / "wandb" / "id.txt").write_text(written)
        with pytest.raises(RunFolderError, match=r"id\.txt"), wandb_rows(run, config, "search"):
            pass
    assert not (run.path / "calls.jsonl").exists()
