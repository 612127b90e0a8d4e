"""More epochs for a run: only where what has been done would have been the same with them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dpl_jax.files.json import explained_writes


def check_extension(config: Mapping[str, Any], section: str, before: int, epochs: int) -> str:
    """Why a run cannot be given another number of epochs, as sentences; "" where it can.

    Args:
      config: the whole config, which differs from the run's in nothing else that matters.
      section: "search" or "train", the part of the config that holds the epochs.
      before: the run's epochs.
      epochs: those asked for.
    """
    if epochs < before:
        return f"A run of {before} epochs can be given more, never fewer. "
    settings = config[section]
    if settings["prompts"].get("schedule", "cosine") != "constant":
        return (
            "The cosine of the learning rate is as long as the epochs: with another number of them "
            f"the epochs done would have been others. A run with {section}.prompts.schedule="
            "constant can be given more. "
        )
    ramps = {"final_temperature": 1, "entropy": 0}
    grown = [name for name, off in ramps.items() if settings.get(name, off) != off]
    if grown:
        return (
            f"{' and '.join(f'{section}.{name}' for name in grown)} takes all epochs to reach its "
            "full value: with another number of them the epochs done would have been others. "
        )
    return ""


def set_aside_results(run: Path, kind: str, epochs: int) -> None:
    """Renames what a run found after ``epochs`` epochs, such as to ``results-2-epochs.json``.

    Until it has found more, it counts as not finished. A training's configuration.json is what it
    trains with, and stays.
    """
    names = ["results", *["configuration"] * (kind == "search")]
    for name in names:
        path = run / f"{name}.json"
        with explained_writes(path), contextlib.suppress(FileNotFoundError):
            path.replace(run / f"{name}-{epochs}-epochs.json")
