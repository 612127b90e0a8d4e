"""A stranger's run folder is only data: a slice of the fuzzing, and what the hook forbids."""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from configs import digits
from dpl_jax.errors import DplError, RunFolderError
from dpl_jax.files.json import read_json, write_json
from dpl_jax.report.page import write_report
from dpl_jax.runs.folder import check_same_config
from dpl_jax.summary.plots import plot_style
from tests.hostile.audit import NotOnlyDataError, only_data
from tests.hostile.run_folder import HostileRun, _kind, fuzz, readers

INPUTS = 300


@pytest.mark.filterwarnings("ignore")
def test_reading_a_mutated_run_folder_reads_data_and_does_no_more(tmp_path):
    with plot_style():
        counts = fuzz(tmp_path, INPUTS, seed=3)
    assert sum(sum(ended.values()) for ended in counts.values()) == INPUTS
    assert {"config.json", "predictions", "sampled.json", "split.json", "checkpoints"} <= set(
        counts
    )
    assert {name for ended in counts.values() for name in ended} == {"read", "refused"}


def _import(folder: Path) -> None:
    importlib.import_module("antigravity")


FORBIDDEN = {
    "code of a file": lambda folder: exec(compile("1", str(folder / "payload.py"), "exec")),
    "code of a string": lambda folder: eval("1"),
    "an import": _import,
    "a file elsewhere": lambda folder: Path("/etc/passwd").read_bytes(),
    "a file through dots": lambda folder: (folder / "../../../../../../etc/passwd").read_bytes(),
    "writing elsewhere": lambda folder: (folder.parent / "x").write_text("x"),
    "writing to a library": lambda folder: Path(subprocess.__file__).write_bytes(b""),
    "a folder elsewhere": lambda folder: os.listdir("/etc"),
    "removing elsewhere": lambda folder: (folder.parent / "none").unlink(),
    "a process": lambda folder: subprocess.run([sys.executable, "-c", ""]),
    "a shell": lambda folder: os.system("true"),
    "an address": lambda folder: socket.getaddrinfo("localhost", 1),
}


@pytest.mark.parametrize("deed", FORBIDDEN)
def test_the_hook_notices(tmp_path, deed):
    """Otherwise the fuzzing would show nothing."""
    folder = tmp_path / "run"
    folder.mkdir()
    with pytest.raises(NotOnlyDataError), only_data(folder):
        FORBIDDEN[deed](folder)


def test_the_hook_lets_a_folder_be_read_and_written(tmp_path):
    with only_data(tmp_path):
        (tmp_path / "x").write_text("1")
        assert (tmp_path / "x").read_text() == "1"
        assert os.listdir(tmp_path) == ["x"]


def test_the_valid_run_is_read(tmp_path):
    """A run that is refused for another reason would hide what a mutation does."""
    hostile = HostileRun(tmp_path)
    kinds = sorted({_kind(name) for name in hostile.files} - {"split.json"})  # of no images here
    for read in readers(hostile.run, kinds, 10):
        read()


@pytest.mark.parametrize("seed", [[], {"a": []}, [[1]]])
def test_a_setting_of_another_type_is_another_config(tmp_path, seed):
    """Comparing it with today's was a TypeError about hashing."""
    hostile = HostileRun(tmp_path)
    saved = read_json(hostile.run / "config.json")
    saved["config"]["seed"] = seed
    write_json(hostile.run / "config.json", saved)
    with pytest.raises(RunFolderError, match="another config"):
        check_same_config(hostile.run, "train", digits.get_config())


def test_versions_that_are_no_mapping_are_one_error(tmp_path):
    """An error within the page's template was raised as it was."""
    hostile = HostileRun(tmp_path)
    saved = read_json(hostile.run / "config.json")
    write_json(hostile.run / "config.json", saved | {"versions": ["jax"]})
    with pytest.raises(RunFolderError, match="cannot show"):
        write_report(hostile.run)


@pytest.mark.parametrize("extends", ["", "train"])
@pytest.mark.parametrize("epochs", ["../../2", None, [2]])
def test_epochs_that_are_no_number_are_another_config(tmp_path, extends, epochs):
    """They become part of a file's name; a group without a name counted as the one to extend."""
    hostile = HostileRun(tmp_path)
    saved = read_json(hostile.run / "config.json")
    saved["config"] |= {"": {"epochs": epochs}}
    saved["config"]["train"]["epochs"] = epochs
    write_json(hostile.run / "config.json", saved)
    with pytest.raises(RunFolderError, match="another config"):
        check_same_config(hostile.run, "train", digits.get_config(), extends=extends)


@pytest.mark.parametrize(
    ("field", "value"), [("images", 0), ("accuracy", 10**400)], ids=["no images", "huge"]
)
def test_numbers_beyond_all_bounds_are_one_error(tmp_path, field, value):
    """A division by no images, and a whole number that no float holds, were ArithmeticErrors."""
    hostile = HostileRun(tmp_path)
    results = read_json(hostile.run / "results.json")
    test = results["evaluations"]["test"]
    (test if field in test else test["dpl"])[field] = value
    write_json(hostile.run / "results.json", results)
    with pytest.raises(DplError, match="cannot show"):
        write_report(hostile.run)
