"""The flags that launchers share, and the config that --config names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from absl import flags
from ml_collections import ConfigDict, config_flags

from dpl_jax.config import SHORTCUTS
from dpl_jax.errors import ConfigError, DplError
from dpl_jax.runs.config_files import load_config

T = TypeVar("T")


def define_config(default: str | None = None) -> flags.FlagHolder[ConfigDict]:
    """Defines --config=FILE[:shots=4,seed=2], any field of which --config.FIELD=VALUE replaces.

    FILE may also be the name of a config that comes with the package: ``digits``.
    """
    holder: flags.FlagHolder[ConfigDict] = config_flags.DEFINE_config_file(
        "config", help_string="File of the settings, such as configs/digits.py."
    )
    flags.FLAGS["config"].parser = ConfigFiles()
    if default:
        flags.set_default(holder, default)
    return holder


def said_fields() -> set[str]:
    """The config's fields that the command line names one by one, or by shortcuts of FILE:.."""
    flag: Any = flags.FLAGS["config"]
    return {*flag.override_values, *flag.parser.shortcut_fields}


def define_workdir() -> flags.FlagHolder[str | None]:
    """Defines --workdir=RUN."""
    return flags.DEFINE_string(
        "workdir", None, "The run's folder; what it has is reused. Default: a new one under runs/."
    )


def define_changes(what: str) -> flags.FlagHolder[list[str]]:
    """Defines that --config.FIELD=VALUE without --config changes the config of ``what``.

    Returns:
      The changes, ``FIELD=VALUE`` each; see :func:`apply_settings`.
    """
    return flags.DEFINE_multi_string(
        "change", [], f"FIELD=VALUE; --config.FIELD=VALUE without --config is short for it: {what}."
    )


def apply_settings(config: ConfigDict, settings: Sequence[str], flag: str = "set") -> None:
    """Replaces fields in place, as ``--config.search.epochs=20`` does; "search.epochs=20" here.

    Raises:
      ConfigError: for a field that the config has not, or a value of the wrong kind.
    """
    arguments = ["", *(f"--{flag}.{setting}" for setting in settings)]
    values = flags.FlagValues()
    try:
        config_flags.DEFINE_config_dict(flag, config, flag_values=values, sys_argv=arguments)
        rest = values(arguments)
    # ml_collections reports an unknown field by whatever the lookup raised.
    except (flags.Error, AttributeError, KeyError, TypeError) as error:
        raise ConfigError(f"--{flag}: {words(error)}") from error
    if len(rest) > 1:
        raise ConfigError(
            f"--{flag}: {rest[1]!r} is not understood; write --{flag}=search.epochs=20"
        )


def define_machines() -> None:
    """Defines the flags that make several processes, on one machine or many, one run."""
    flags.DEFINE_string(
        "coordinator",
        None,
        "host:port of process 0, where all processes meet; or auto, as SLURM, Open MPI or "
        "Kubernetes say.",
    )
    flags.DEFINE_string(
        "coordinator_bind_address",
        None,
        "host:port that process 0 listens on, on a trusted network only; default: the "
        "coordinator's port on all interfaces.",
    )
    flags.DEFINE_integer("num_processes", None, "How many processes there are.", lower_bound=1)
    flags.DEFINE_integer("process_id", None, "Number of this one, from 0.", lower_bound=0)


def choose_workdir(default: str | Path) -> Path:
    """The folder that --workdir names; where it names none, ``default`` becomes its value."""
    flag = flags.FLAGS["workdir"]
    flag.value = flag.value or str(default)
    return Path(flag.value)


def need(name: str, value: T | None) -> T:
    """The value of the flag --``name``; raises ConfigError when it was given none."""
    if value is None:
        raise ConfigError(f"--{name} is needed; --help lists the flags.")
    return value


class ConfigFiles(flags.ArgumentParser):
    """Reads --config=FILE[:shots=4,seed=2], and keeps which fields the shortcuts named."""

    def __init__(self) -> None:
        self.shortcut_fields: set[str] = set()

    def parse(self, argument: str) -> ConfigDict:
        """The settings that ``argument`` names, for no one to add fields to."""
        names = {part.partition("=")[0] for part in argument.partition(":")[2].split(",")}
        self.shortcut_fields = {field for name, field in SHORTCUTS.items() if name in names}
        return load_config(argument).lock()


def words(error: BaseException) -> str:
    """The part of the flag libraries' messages that says what was wrong."""
    if error.args and isinstance(error.args[0], KeyError):  # wrapped by ml_collections
        return words(error.args[0])
    if isinstance(error.__context__, DplError):  # wrapped by absl
        return str(error.__context__)
    text = str(error.args[0]) if error.args else str(error)
    if field := re.search(r'Did you mean "(.+)" instead of "(.+)"', text):
        return f"the config has no field {field[2]!r}; did you mean {field[1]!r}?"
    if missing := re.search(r"flag --(\w+)=None: ", text):
        return f"--{missing[1]} is needed; --help lists the flags."
    if isinstance(error, KeyError):
        return f"the config has no field {text}; see dpl_jax/config.py."
    return text
