"""Finds runs, and reads what was measured in them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from dpl_jax.config import flatten
from dpl_jax.files.json import read_json
from dpl_jax.runs.folder import HARMLESS
from dpl_jax.runs.results import data_name, unused_settings
from dpl_jax.summary.names import METRICS
from dpl_jax.summary.table import Cell

# Where each kind of run has its numbers.
RESULTS = {
    "search": "results.json",
    "train": "results.json",
    "ablate": "ablation.json",
    "compare": "compare.json",
}
# Settings that are columns of their own, differ between machines or change no result.
COLUMNS_OF_THEIR_OWN = ("seed", "data.name", "data.classes", "data.shots", "data.template")
IGNORED = (*HARMLESS, *COLUMNS_OF_THEIR_OWN, "data.root", "clip.path", "ablate", "compare")


class Record(NamedTuple):
    """The scores of one method in one run, or in one member of a run with several.

    Attributes:
      run: its folder.
      seed: of the run or the member.
      about: what a table tells of it: dataset, shots, what was evaluated, method, ..
      settings: all config fields, as JSON, that may change the result and are not in ``about``.
      images: SHA-256 of the list of evaluated images, "" where it was not written down.
      scores: "accuracy", "macro_f1", .., 0 to 1.
    """

    run: Path
    seed: int
    about: dict[str, Cell]
    settings: dict[str, str]
    images: str
    scores: Mapping[str, Any]


class Measured(NamedTuple):
    """One method's scores within a file of results; see :class:`Record`."""

    seed: int
    evaluated: str
    number: int
    images: str
    method: str
    scores: Mapping[str, Any]
    settings: Mapping[str, Any]


class NoResultsError(ValueError):
    """A folder without results; says why."""


def find_runs(paths: Iterable[Path]) -> Iterator[Path]:
    """The runs among the folders and, where a folder is none, in it; each once, in order.

    A path in which there is no run is given back itself, for :func:`read_records` to refuse.
    """
    seen = set()
    for path in paths:
        for run in list(_runs_in(path)) or [path]:
            if run.resolve() not in seen:
                seen.add(run.resolve())
                yield run


def read_records(run: Path) -> list[Record]:
    """All scores of a run.

    Raises:
      NoResultsError: when there are none, saying why.
    """
    try:
        saved = read_json(run / "config.json")
        kind = saved["kind"]
        if kind not in RESULTS:
            raise NoResultsError(f"a run of kind {kind!r}")
        if not (run / RESULTS[kind]).is_file():
            raise NoResultsError("not finished")
        results = read_json(run / RESULTS[kind])
        config = ConfigDict(saved["config"])
        records = [_record(run, kind, config, results, each) for each in _measured(kind, results)]
    except FileNotFoundError as error:
        raise NoResultsError("no run in it") from error
    except NoResultsError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
        raise NoResultsError("files that cannot be read") from error
    if not records:
        raise NoResultsError("not evaluated")
    return records


def _runs_in(path: Path) -> Iterator[Path]:
    for folder, inside, files in os.walk(path):
        inside.sort()
        if "config.json" in files and _is_run(Path(folder)):
            inside.clear()  # what a run holds belongs to it
            yield Path(folder)


def _is_run(folder: Path) -> bool:
    """Whether config.json is that of a run, not of a CLIP; one that is damaged counts as one."""
    try:
        saved = read_json(folder / "config.json")
    except (ValueError, OSError):
        return True
    return isinstance(saved, dict) and "kind" in saved


def _measured(kind: str, results: Mapping[str, Any]) -> Iterator[Measured]:
    match kind:
        case "ablate":
            yield from _members(results)
        case "compare":
            yield from _contenders(results)
        case _:
            yield from _evaluations(results)


def _evaluations(results: Mapping[str, Any]) -> Iterator[Measured]:
    for name, found in results.get("evaluations", {}).items():
        for method, scores in found.items():
            if isinstance(scores, Mapping):
                number, images = found["images"], found["sha256"]
                yield Measured(results["seed"], name, number, images, method, scores, {})


def _members(results: Mapping[str, Any]) -> Iterator[Measured]:
    for member in results["members"]:
        own = {"search.max_context_length": member["max_context_length"]}
        methods = {"zero_shot": results["zero_shot"]}
        methods |= {method: member[method] for method in ("supernet", "dpl")}
        for method, scores in methods.items():
            yield Measured(member["seed"], "test", results["images"], "", method, scores, own)


def _contenders(results: Mapping[str, Any]) -> Iterator[Measured]:
    for method, found in results["methods"].items():
        for seed, scores in found["seeds"].items():
            yield Measured(int(seed), "test", scores["images"], "", method, scores, {})


def _record(
    run: Path, kind: str, config: ConfigDict, results: Mapping[str, Any], found: Measured
) -> Record:
    clip = f"{Path(config.clip.path).name} ({results['clip']['sha256'][:8]})"
    about: dict[str, Cell] = {
        "kind": kind,
        "dataset": data_name(config.data),
        "classes": results["classes"],
        "shots": results["shots"],
        "CLIP": clip,
        "template": results["template"],
        "evaluated on": found.evaluated,
        "images": found.number,
        "method": found.method,
    }
    ignored = (*IGNORED, *unused_settings(kind, results))
    settings = flatten(config) | dict(found.settings)
    kept = {name: json.dumps(each) for name, each in settings.items() if not _in(name, ignored)}
    scores = {name: each for name, each in found.scores.items() if isinstance(each, float | int)}
    cells = (*about.values(), found.seed, found.images)
    if not all(each is None or isinstance(each, str | int | float) for each in cells):
        raise TypeError("what tells of the run is no text and no number")
    if not all(0 <= scores[name] <= 1 for name in METRICS if name in scores):
        raise ValueError("scores reach from 0 to 1")
    return Record(run, found.seed, about, kept, found.images, scores)


def _in(name: str, fields: Sequence[str]) -> bool:
    return any(name == field or name.startswith(f"{field}.") for field in fields)
