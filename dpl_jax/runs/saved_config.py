"""A run's config.json as a config again: what a training takes over from its search."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dpl_jax.config import flatten, get_config
from dpl_jax.errors import ConfigError, RunFolderError
from dpl_jax.runs.folder import HARMLESS, config_differences, read_config, read_whole_config

LOG = logging.getLogger(__name__)

# What a search and the training after it have in common: the task and the frozen CLIP.
SHARED = ("seed", "data.", "clip.")
# Where something lies, not what it is: another place is not another task.
PLACES = ("data.root", "data.tfds_dir")


def config_of_run(run: Path) -> ConfigDict:
    """All settings of a run, with the types of :mod:`dpl_jax.config`.

    Raises:
      RunFolderError: when ``run`` is not a run folder, or a setting of it is invalid or unknown.
    """
    config = get_config()
    defaults = flatten(config)
    saved = flatten(read_whole_config(run))
    if unknown := sorted(set(saved) - set(defaults)):
        raise RunFolderError(
            f"{run / 'config.json'} has the setting {unknown[0]!r:.100}, which this version of "
            "dpl_jax does not know."
        )
    config.update_from_flattened_dict(
        {name: type(defaults[name])(value) for name, value in saved.items()}
    )
    return config


def search_of(lengths_file: Path) -> Path | None:
    """The folder of the search that wrote ``lengths_file``; None where no search did."""
    run = lengths_file.parent
    try:
        read_config(run, "search")
    except RunFolderError:
        return None
    return run if lengths_file.name == "configuration.json" else None


def with_search_of(config: ConfigDict, searched: Path) -> ConfigDict:
    """``config`` with the settings that the search in ``searched`` ran with as its ``search``."""
    config = config.copy_and_resolve_references()
    own = config_of_run(searched).search
    config.search.update_from_flattened_dict(flatten(own))
    return config


def agree_with_search(config: ConfigDict, searched: Path, said: Collection[str]) -> ConfigDict:
    """``config`` for a training after a search, on the task and with the CLIP of that search.

    Args:
      config: of the training. Where it does not say where the data lie, they lie where they lay.
      searched: folder of the search.
      said: fields that were given one by one; they may differ, which is logged.

    Raises:
      ConfigError: when another field differs, naming both values.
    """
    own = config_of_run(searched)
    config = config.copy_and_resolve_references()
    for place in PLACES:
        if place not in said and not _get(config, place):
            config.update_from_flattened_dict({place: _get(own, place)})
    differing = {
        name: pair
        for name, pair in config_differences(own.to_dict(), config.to_dict()).items()
        if name.startswith(SHARED) and name not in HARMLESS and not _same_place(name, *pair)
    }
    refused = {n: pair for n, pair in differing.items() if n not in said and n not in PLACES}
    if refused:
        raise ConfigError(
            f"--config is not that of the search in {searched}:{_lines(refused)}\n"
            "Leave --config out, and the training takes over what the search had; give the fields "
            f"that are to differ one by one, such as --config.{next(iter(refused))}=VALUE; or "
            f"train its lengths on any config with --lengths={searched / 'configuration.json'}"
        )
    if differing:
        LOG.warning("The training differs from the search in %s:%s", searched, _lines(differing))
    return config


def _lines(differing: Mapping[str, tuple[Any, Any]]) -> str:
    return "".join(
        f"\n  {name}: {before!r} in the search, {now!r} now"
        for name, (before, now) in differing.items()
    )


def _same_place(name: str, before: Any, now: Any) -> bool:
    """Whether two values are one folder or file, written differently."""
    if name not in (*PLACES, "clip.path", "data.split_file") or not before or not now:
        return False
    return Path(before).exists() and Path(before).resolve() == Path(now).resolve()


def _get(config: ConfigDict, field: str) -> Any:
    group, _, name = field.partition(".")
    return config[group][name]
