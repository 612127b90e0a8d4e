"""Published few-shot numbers of other methods, with their sources: ``published.json``.

docs/sweeps.md says what each source is and how far its numbers can be trusted.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from dpl_jax.json_files import read_json

FILE = Path(__file__).with_name("published.json")
AVERAGE = "average"  # over the eleven datasets of dpl_jax.sweep.grid.PAPER
NO_SHOTS = "0"  # of zero-shot CLIP
WHOLE_GRID = ("A", "B")  # the sources that have every dataset and every number of shots


class Published(NamedTuple):
    """A method's accuracy in percent, by one source."""

    method: str
    source: str
    accuracy: float

    @property
    def column(self) -> str:
        """``MaPLe [A]``."""
        return f"{self.method} [{self.source}]"


def published(dataset: str, shots: int) -> list[Published]:
    """All that is published for a dataset, or for "average", in the order of the sources."""
    found = []
    for entry in read_json(FILE)["numbers"]:
        by_shots = entry["accuracy"].get(dataset, {})
        accuracy = by_shots.get(str(shots), by_shots.get(NO_SHOTS))
        if accuracy is not None:
            found.append(Published(entry["method"], entry["source"], accuracy))
    return found


def sources() -> dict[str, str]:
    """What each source is, by its letter."""
    return {
        letter: f"{source['name']}; {source['note']}"
        for letter, source in read_json(FILE)["sources"].items()
    }


def backbone() -> str:
    """The CLIP that the numbers were measured with."""
    return str(read_json(FILE)["backbone"])
