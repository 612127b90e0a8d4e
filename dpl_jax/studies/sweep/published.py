"""Published few-shot numbers of other methods, with their sources: ``published.json``.

docs/sweeps.md says what each source is and how far its numbers can be trusted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dpl_jax.files.json import read_json

FILE = Path(__file__).with_name("published.json")
AVERAGE = "average"  # over the eleven datasets of dpl_jax.studies.sweep.grid.PAPER
NO_SHOTS = "0"  # of zero-shot CLIP


def published(dataset: str, shots: int) -> list[dict[str, Any]]:
    """All that is published for a dataset, or for "average", in the order of the sources.

    Returns:
      for each method and source, ``{"method": "MaPLe", "source": "A", "accuracy": 96.0}``, in %.
    """
    found = []
    for entry in read_json(FILE)["numbers"]:
        by_shots = entry["accuracy"].get(dataset, {})
        accuracy = by_shots.get(str(shots), by_shots.get(NO_SHOTS))
        if accuracy is not None:
            found.append(entry | {"accuracy": accuracy})
    return found


def about() -> dict[str, Any]:
    """The CLIP that the numbers were measured with, and what each source is, by its letter."""
    content = read_json(FILE)
    return {"backbone": content["backbone"], "sources": content["sources"]}
