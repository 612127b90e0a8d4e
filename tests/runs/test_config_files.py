"""A config is found by its path, or by its name among those that come with the package."""

import sys

import pytest
from absl import flags
from ml_collections import config_flags

from dpl_jax import cli
from dpl_jax.cli import main
from dpl_jax.errors import ConfigError
from dpl_jax.runs.config_files import find_config, load_config
from tests.support.repository import ROOT

CONFIGS = ROOT / "configs"


@pytest.mark.parametrize("name", ["digits", "digits.py", "configs/digits.py"])
def test_a_name_finds_the_shipped_config_from_any_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == CONFIGS / "digits.py"
    config = load_config(f"{name}:shots=4,seed=2")
    assert (config.data.name, config.data.shots, config.seed) == ("digits", 4, 2)


def test_a_file_goes_before_the_shipped_config_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "digits").mkdir()  # a folder is no config
    own = tmp_path / "configs" / "digits.py"
    own.write_text(
        "from dpl_jax.runs.config_files import load_config\n"
        "def get_config():\n    config = load_config('digits')\n    config.seed = 7\n"
        "    return config\n"
    )
    assert load_config("configs/digits.py").seed == 7
    assert load_config("digits").seed == 1


@pytest.mark.parametrize("name", ["digitz", "configs/digitz.py", "other/digits.py", ""])
def test_an_unknown_name_lists_the_configs(name):
    with pytest.raises(ConfigError, match=r"no config file .*caltech101, digits, .*, ucf101\."):
        load_config(name)


def test_a_file_without_a_config_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(ConfigError, match=r"notes.txt is no config: .* ends in .py"):
        load_config(str(tmp_path / "notes.txt"))
    with pytest.raises(ConfigError, match=r"empty.py is no config: it has no get_config"):
        load_config(str(tmp_path / "empty.py"))


def parse(monkeypatch, default, *arguments):
    """What a launcher with --config sees."""
    values = flags.FlagValues()
    monkeypatch.setattr(flags, "FLAGS", values)
    define = config_flags.DEFINE_config_file
    monkeypatch.setattr(
        config_flags, "DEFINE_config_file", lambda *a, **k: define(*a, flag_values=values, **k)
    )
    monkeypatch.setattr(sys, "argv", ["launcher", *arguments])
    holder = cli.define_config(default)
    main._parse(sys.argv)
    return holder.value


def test_the_flag_takes_names_shortcuts_and_fields(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fields = ("--config.search.epochs=3", "--config.data.shots=2")
    config = parse(monkeypatch, None, "--config", "digits:seed=5", *fields)
    assert (config.data.name, config.seed) == ("digits", 5)
    assert (config.search.epochs, config.data.shots) == (3, 2)
    assert config.is_locked


@pytest.mark.parametrize(
    ("given", "name", "seed"),
    [("--config.seed=4", "digits", 4), ("--config=folder", "folder", 1)],
)
def test_the_flags_default_is_a_shipped_config(given, name, seed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = parse(monkeypatch, "configs/digits.py", given)
    assert (config.data.name, config.seed) == (name, seed)


@pytest.mark.parametrize("given", ["--config=digitz", "--config=digitz:shots=2"])
def test_a_wrong_name_on_the_command_line_is_one_message(given, monkeypatch):
    with pytest.raises(SystemExit, match=r"^error: There is no config file digitz\. Give .*digits"):
        parse(monkeypatch, None, given, "--config.seed=3")
