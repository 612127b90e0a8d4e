"""The commands that make a run again: its launcher, a config file, and every field that differs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dpl_jax.report.contents import Contents
from dpl_jax.runs.config_files import load_shipped_config
from dpl_jax.runs.folder import config_differences
from dpl_jax.runtime.launchers import flag, program


def commands(contents: Contents) -> list[list[str]]:
    """The commands, each as its parts: the program, then one flag each.

    The run comes first, with the lengths that it used, then each evaluation whose data are known.
    """
    found = []
    flags = config_flags(contents.config.to_dict())
    if imported := contents.results.get("imported"):
        found.append([f"{program('exchange')} import", *flags, *_imported_flags(imported)])
    elif contents.kind == "search":
        found.append([program("search"), *flags])
    elif contents.kind == "train":
        found.append([program("train"), *flags, _lengths_flag(contents)])
    own = contents.config.data.to_dict()
    for predictions in contents.predictions.values():
        evaluation = [flag("run", contents.path), flag("split", predictions.split)]
        if predictions.data != own:
            evaluation += config_flags({"data": dict(predictions.data)})
        found.append([program("evaluate"), *evaluation])
    return found


def config_flags(config: Mapping[str, Any]) -> list[str]:
    """The flags that make launchers see ``config``: a config file, and what differs from it.

    Args:
      config: all fields, or whole groups of them such as ``data``; those of an ablation do not
        matter to a run.
    """
    name = config["data"]["name"]  # may be a stranger's
    base = load_shipped_config(name)
    groups = {name: group for name, group in base.to_dict().items() if name in config}
    differences = config_differences(groups, config)
    return [
        flag("config", name),
        *(
            flag(f"config.{name}", value)
            for name, (default, value) in differences.items()
            if default is not None and value is not None and not name.startswith("ablate.")
        ),
    ]


def _lengths_flag(contents: Contents) -> str:
    """The lengths that a training used; what went on from a supernet needs the search of then."""
    train, given = contents.config.train, contents.results.get("lengths_file")
    if given and (train.get("final") == "mixture" or train.get("start") == "supernet"):
        return flag("search", str(Path(given).parent))
    return flag("lengths", contents.path / "configuration.json")


def _imported_flags(imported: Mapping[str, Any]) -> list[str]:
    """The files that a run was taken over from."""
    alphas = imported.get("alphas", {})
    files = {"prompts": imported["prompts"]["file"], "alphas": alphas.get("folder")}
    flags = {name: Path(file) for name, file in files.items() if file is not None}
    flags |= {name: alphas.get(name) for name in ("epoch", "swapped")}
    return [flag(name, value) for name, value in flags.items() if value is not None]
