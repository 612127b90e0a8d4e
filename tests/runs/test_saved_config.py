"""A training takes over what its search had, and what is printed can be pasted as it stands."""

from __future__ import annotations

import html
import logging
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from configs import digits
from dpl_jax.errors import ConfigError, DplError, RunFolderError
from dpl_jax.files.json import read_json, to_json, write_json
from dpl_jax.runs.folder import open_run
from dpl_jax.runs.saved_config import agree_with_search, config_of_run
from dpl_jax.studies.aggregate.rows import aggregate
from tests.docs.run_command import parse, run
from tests.support.repository import ROOT

# Names that a shell would take apart.
FOLDER = """a "run's" $HOME folder"""
SMALL = ("--config.clip.path=tiny", "--config.search.epochs=1", "--config.train.epochs=1")


@pytest.fixture
def searched(tmp_path: Path) -> Path:
    """The folder of a search whose settings are not those of its config file."""
    config = digits.get_config("seed=9,shots=2,T=3")
    config.data.template, config.search.epochs, config.train.epochs = "the {}.", 20, 7
    config.ablate.seeds = (4, 5)
    path = tmp_path / FOLDER
    open_run(path, "search", config).close()
    return path


def test_a_run_s_config_is_the_config_it_was_started_with(searched: Path) -> None:
    config = config_of_run(searched)
    assert (config.seed, config.search.epochs, config.ablate.seeds) == (9, 20, (4, 5))
    again = searched.with_name("again")
    open_run(again, "search", config).close()
    assert (
        read_json(again / "config.json")["config"] == read_json(searched / "config.json")["config"]
    )


def test_a_setting_that_is_unknown_is_named(searched: Path) -> None:
    saved = read_json(searched / "config.json")
    saved["config"]["search"]["magic"] = 1
    write_json(searched / "config.json", saved)
    with pytest.raises(RunFolderError, match=r"'search\.magic'"):
        config_of_run(searched)


@pytest.mark.parametrize("given", [["--search={}"], ["--search", "{}"]])
def test_without_a_config_all_is_the_search_s_but_what_is_said(
    given: list[str], searched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = [each.format(searched) for each in given]
    said = ["--config.train.epochs=5", "--config.data.root=NEW", "--config.ablate.seeds=1"]
    config = parse("launch/train.py", [*said[:1], *own, *said[1:]], monkeypatch)
    expected = read_json(searched / "config.json")["config"]
    expected["train"]["epochs"], expected["data"]["root"] = 5, "NEW"
    expected["ablate"]["seeds"] = [1]
    assert config is not None and to_json(config.to_dict()) == expected


def test_neither_a_search_nor_a_config_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AssertionError, match="no run folder"):
        parse("launch/train.py", [f"--search={tmp_path}"], monkeypatch)
    with pytest.raises(AssertionError, match="--config is needed"):
        parse("launch/train.py", ["--lengths=FILE"], monkeypatch)


CONTRADICTIONS = {
    "seed": 1,
    "data.shots": 16,
    "data.name": "dtd",
    "data.classes": "new",
    "data.template": "a {}.",
    "clip.path": "openai/clip-vit-base-patch32",
    "clip.dtype": "bfloat16",
}


@pytest.mark.parametrize("field", CONTRADICTIONS)
def test_what_contradicts_the_search_is_refused_or_said(
    field: str, searched: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config, value = config_of_run(searched), CONTRADICTIONS[field]
    before = flatten_dict(config.to_dict(), sep=".")[field]
    config.update_from_flattened_dict({field: value})
    with pytest.raises(ConfigError) as error:
        agree_with_search(config, searched, ())
    assert f"{field}: {before!r} in the search, {value!r} now" in str(error.value)
    assert "--lengths=" in str(error.value) and str(error.value).count(" in the search, ") == 1
    with caplog.at_level(logging.WARNING):
        assert agree_with_search(config, searched, {field}).to_dict() == config.to_dict()
    assert f"{field}: {before!r} in the search, {value!r} now" in caplog.text


def test_what_is_stage_two_s_own_or_harmless_is_free(
    searched: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = config_of_run(searched)
    fields = {"train.epochs": 3, "search.epochs": 60, "data.workers": 2, "progress": "off"}
    config.update_from_flattened_dict(fields)
    assert agree_with_search(config, searched, ()).to_dict() == config.to_dict()
    assert not caplog.text


def test_a_place_is_taken_over_or_wins_with_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = digits.get_config()
    config.data.root = str(tmp_path / "photos")
    (tmp_path / "photos").mkdir()
    open_run(tmp_path / "RUN", "search", config).close()
    other: ConfigDict = digits.get_config()
    agreed = agree_with_search(other, tmp_path / "RUN", ())
    assert agreed.data.root == str(tmp_path / "photos") and not caplog.text
    monkeypatch.chdir(tmp_path)
    other.data.root = "photos"  # the same, written differently
    assert agree_with_search(other, tmp_path / "RUN", ()).data.root == "photos" and not caplog.text
    other.data.root = "moved"
    assert agree_with_search(other, tmp_path / "RUN", ()).data.root == "moved"
    assert "'moved' now" in caplog.text


def words_of(line: str) -> list[str]:
    """A pasted line as a shell takes it apart."""
    script = f"printf '%s\\0' {line}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.split("\0")[:-1]


def paste(line: str) -> None:
    """Runs what a shell would run: this Python, with a launcher of this checkout."""
    python, launcher, *arguments = words_of(line)
    assert Path(python).is_absolute() and Path(python).samefile("/proc/self/exe")
    assert Path(launcher).is_absolute() and Path(launcher).parent == ROOT / "launch"
    run(launcher, arguments)


def next_line(told: str) -> str:
    (found,) = re.findall(r"^Next: (.*)$", told, re.MULTILINE)
    return found


def test_what_is_printed_is_pasted_in_another_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Search, train and evaluate; then the report's commands; no two in the same folder."""
    for name in ("one", "two", "three", "four"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "one")
    run("launch/search.py", ["--config=digits:shots=1,seed=3,T=2", *SMALL, f"--workdir={FOLDER}"])
    line = next_line(capsys.readouterr().out)
    monkeypatch.chdir(tmp_path / "two")
    paste(line)
    line = next_line(capsys.readouterr().out)
    monkeypatch.chdir(tmp_path / "three")
    paste(line)
    (trained,) = (tmp_path / "two" / "runs").iterdir()
    search, config = (
        read_json(path / "config.json")["config"] for path in (tmp_path / "one" / FOLDER, trained)
    )
    assert config == search
    results = read_json(trained / "results.json")
    assert results["search"] == str(tmp_path / "one" / FOLDER)
    assert results["compute"]["backend"] == "cpu" and results["compute"]["device_count"] == 1

    page = (trained / "report.html").read_text()
    monkeypatch.chdir(tmp_path / "four")
    found = re.findall(r"<pre[^>]*><code>(.*?)</code></pre>", page, re.DOTALL)
    commands = [html.unescape(each) for each in found]
    assert len(commands) == 2 and "train.py" in commands[0] and "evaluate.py" in commands[1]
    for each in commands:
        paste(each)
    (again,) = (tmp_path / "four" / "runs").iterdir()
    assert read_json(again / "config.json")["config"] == config
    assert read_json(again / "configuration.json") == read_json(trained / "configuration.json")


def test_a_training_records_the_settings_its_search_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with a config file of its own that says otherwise."""
    monkeypatch.chdir(tmp_path)
    task = ["--config=digits:shots=1", "--config.clip.path=tiny", "--config.report=False"]
    few = [*task, "--config.train.epochs=1", "--config.search.max_context_length=2"]
    run("launch/search.py", [*few, "--config.search.epochs=2", "--workdir=RUN"])
    run("launch/train.py", [*few, "--search=RUN", "--workdir=RUN2"])  # search.epochs is 60 in it
    write_json(tmp_path / "FILE", read_json(tmp_path / "RUN" / "configuration.json")["lengths"])
    run("launch/train.py", [*few, "--lengths=FILE", "--workdir=RUN3"])
    saved = read_json(tmp_path / "RUN2" / "config.json")["config"]
    assert (saved["search"]["epochs"], saved["search"]["max_context_length"]) == (2, 2)
    assert saved["search"] == read_json(tmp_path / "RUN" / "config.json")["config"]["search"]
    settings: dict[str, Any] = {}
    for name in ("RUN2", "RUN3"):
        run("launch/evaluate.py", [f"--run={name}"])
        rows, _ = aggregate([tmp_path / name])
        settings[name] = rows[0]
    rows, _ = aggregate([tmp_path / "RUN2", tmp_path / "RUN3"])
    shown = {row.about["settings"] for row in rows}
    assert any("search.epochs=2" in each for each in shown)
    assert not any("60" in each for each in shown)  # no search of 60 epochs has ever run


def test_a_supernet_of_another_clip_is_refused(tmp_path: Path) -> None:
    from dpl_jax.clip.model import load_clip
    from dpl_jax.training.start import check_same_clip

    write_json(tmp_path / "results.json", {"clip": {"path": "theirs", "sha256": "f" * 64}})
    with pytest.raises(DplError, match=r"theirs \(.*ffff.*clip\.path"):
        check_same_clip(tmp_path, load_clip("tiny"))
