"""Config files: found by their path, or by the name of one that comes with the package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from ml_collections import ConfigDict

from dpl_jax.errors import ConfigError
from dpl_jax.runs.saved_config import config_of_run
from dpl_jax.runtime.launchers import shipped


def load_config(name: str) -> ConfigDict:
    """The settings of ``FILE``, or of ``FILE:shots=4,seed=2`` with shortcuts behind a colon.

    Args:
      name: a path; or ``digits``, ``digits.py`` or ``configs/digits.py`` for the config of that
        name that comes with the package, where there is no such file. ``RUN/config.json`` has the
        settings of a run, which are read and not executed.

    Raises:
      ConfigError: there is no such config, or the file holds none.
      RunFolderError: a run's config.json is damaged.
    """
    if Path(name).name == "config.json":
        return config_of_run(Path(name).parent)
    file, colon, shortcuts = name.partition(":")
    return _execute(find_config(file), shortcuts if colon else None)


def load_shipped_config(name: str) -> ConfigDict:
    """The settings of a config that comes with the package, by a name that may be a stranger's.

    No file but the package's own is ever executed, wherever the name is from.

    Raises:
      ConfigError: the package has no config of that name.
    """
    if name not in shipped_names():
        raise ConfigError(
            f"{name!r:.100} is not a config that comes with dpl_jax: {', '.join(shipped_names())}."
        )
    return _execute(shipped("configs") / f"{name}.py")


def shipped_names() -> list[str]:
    """The names of the configs that come with the package."""
    return sorted(known.stem for known in shipped("configs").glob("*.py"))


def _execute(path: Path, shortcuts: str | None = None) -> ConfigDict:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} is no config: the name of a config file ends in .py.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    get_config = getattr(module, "get_config", lambda *_: None)
    config = get_config() if shortcuts is None else get_config(shortcuts)
    if not isinstance(config, ConfigDict):
        raise ConfigError(f"{path} is no config: it has no get_config() that returns a ConfigDict.")
    return config


def find_config(file: str) -> Path:
    """The path of a config file; see :func:`load_config`.

    Raises:
      ConfigError: neither such a file nor a config of that name; the message lists the names.
    """
    path, names = Path(file), shipped_names()
    if path.is_file():
        return path
    if (name := file.removeprefix("configs/").removesuffix(".py")) in names:
        return shipped("configs") / f"{name}.py"
    raise ConfigError(
        f"There is no config file {file}. Give the path of one, or the name of a config that comes "
        f"with dpl_jax: {', '.join(names)}."
    )
