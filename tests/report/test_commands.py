"""The command in the report gives the launchers the very config of the run."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from absl import flags
from ml_collections import ConfigDict, config_flags

from configs import caltech101, digits, folder
from dpl_jax.cli.flags import ConfigFiles
from dpl_jax.files.json import read_json, to_json, write_json
from dpl_jax.report import commands
from dpl_jax.report.contents import read_contents
from dpl_jax.runs.folder import open_run
from dpl_jax.runs.predictions import load_predictions, save_predictions
from tests.support.repository import ROOT


def parse(parts: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[str, Any, flags.FlagValues]:
    """The launcher, the config that it would see, and the other flags."""
    monkeypatch.chdir(ROOT)
    values = flags.FlagValues()
    holder = config_flags.DEFINE_config_file("config", flag_values=values, lock_config=True)
    values["config"].parser = ConfigFiles()
    for name in ("lengths", "search", "run", "split", "workdir"):
        flags.DEFINE_string(name, None, "", flag_values=values)
    python, launcher, *arguments = shlex.split(" ".join(parts))
    assert python == sys.executable and Path(launcher).is_file()
    monkeypatch.setattr(sys, "argv", [launcher, *arguments])  # where ml_collections looks
    values(sys.argv)
    launcher = str(Path(launcher).relative_to(ROOT))
    return launcher, to_json(holder.value.to_dict()) if holder.value else None, values


def changed(config: ConfigDict, **fields: Any) -> ConfigDict:
    config.update_from_flattened_dict({name.replace("__", "."): v for name, v in fields.items()})
    return config


CONFIGS = {
    "unchanged": digits.get_config(),
    "shortcuts": digits.get_config("shots=2,seed=9,T=3,dtype=bfloat16"),
    "quotes": changed(
        folder.get_config(), data__root="/my photos/it's", data__template='a "{}", $HOME, `ls`'
    ),
    # Of the base, while the dataset's config file has another.
    "back to base": changed(caltech101.get_config(), data__augment="none", progress="off"),
    "numbers": changed(
        digits.get_config(), search__prompts__learning_rate=1e-07, train__distillation=2.0
    ),
    "switches": changed(digits.get_config(), tensorboard=True, data__skip_unreadable=True),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_command_has_the_config_of_the_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CONFIGS[name]
    open_run(tmp_path / "run", "search", config).close()
    (parts,) = commands.commands(read_contents(tmp_path / "run"))
    launcher, parsed, _ = parse(parts, monkeypatch)
    assert launcher == "launch/search.py"
    assert parsed == to_json(config.to_dict())


def test_only_what_differs_is_in_the_command(tmp_path: Path) -> None:
    open_run(tmp_path / "run", "search", digits.get_config("seed=9")).close()
    (parts,) = commands.commands(read_contents(tmp_path / "run"))
    program = shlex.join([sys.executable, str(ROOT / "launch" / "search.py")])
    assert parts == [program, "--config=digits", "--config.seed=9"]


def test_a_training_uses_its_own_lengths_and_is_evaluated_again(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = load_predictions(trained / "predictions" / "test.npz")
    data = digits.get_config("classes=new").data.to_dict()
    path = trained / "predictions" / "digits-new-val.npz"
    save_predictions(path, other._replace(data=data, split="val"))
    training, elsewhere, own = commands.commands(read_contents(trained))
    launcher, config, values = parse(training, monkeypatch)
    assert launcher == "launch/train.py"
    assert config == read_json(trained / "config.json")["config"]
    assert values["lengths"].value == str(trained / "configuration.json")
    launcher, config, values = parse(own, monkeypatch)
    assert launcher == "launch/evaluate.py" and config is None
    assert (values["run"].value, values["split"].value) == (str(trained), "test")
    _, config, values = parse(elsewhere, monkeypatch)
    assert config["data"] == to_json(data) and values["split"].value == "val"


def test_what_went_on_from_a_supernet_names_its_search(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = read_json(trained / "config.json")
    saved["config"]["train"]["start"] = "supernet"
    write_json(trained / "config.json", saved)
    results = read_json(trained / "results.json")
    file = "runs/search one/configuration.json"
    write_json(trained / "results.json", results | {"lengths_file": file})
    training = commands.commands(read_contents(trained))[0]
    _, config, values = parse(training, monkeypatch)
    assert values["search"].value == "runs/search one" and values["lengths"].value is None
    assert config == saved["config"]
