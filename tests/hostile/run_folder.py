"""A run folder from a stranger, every file of it mutated; reading it reads data and does no more.

    python -m tests.hostile.run_folder --inputs=100000 [--seed=1]

prints what the inputs ended in, by the file that was mutated, and keeps those that ended otherwise
than in a value or our own error in ``fuzz-findings/``.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import logging
import os
import random
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from configs import digits
from dpl_jax.data.coop.split_file import read_split
from dpl_jax.errors import DplError
from dpl_jax.files.json import write_json
from dpl_jax.inference.classifier import read_origin
from dpl_jax.inference.export.card import model_card
from dpl_jax.inference.trained import load_trained
from dpl_jax.prompts.learned import Discrete
from dpl_jax.report import page
from dpl_jax.report.commands import commands
from dpl_jax.report.contents import read_contents
from dpl_jax.runs import checkpoints
from dpl_jax.runs.folder import check_same_config, open_run
from dpl_jax.runs.lock import _holder
from dpl_jax.runs.metrics import _run_id
from dpl_jax.runs.predictions import Predictions, load_predictions, save_predictions
from dpl_jax.studies.aggregate.records import NoResultsError, find_runs, read_records
from dpl_jax.summary.plots import plot_style
from tests.hostile.audit import only_data
from tests.hostile.fuzz import FINDINGS, SECONDS, _hang
from tests.hostile.mutate import _changed, mutated

PAYLOAD = "raise SystemExit('a payload was executed')\n"
PAGES, FIGURES = 10, 1000  # one input in so many also gets a page without figures, or with all
LOADS = 200  # ... or has its checkpoint and its CLIP loaded
JSON = ("config.json", "results.json", "configuration.json", "sampled.json", "split.json")
ALSO = (NoResultsError,)  # what "python -m dpl_jax.results" leaves a run out for


class HostileRun:
    """A finished training with one evaluation, whose files are mutated and put back.

    Attributes:
      folder: what may be read and written: the run, and payloads beside and in it.
      run: the run's folder.
      files: the valid contents by name.
    """

    def __init__(self, folder: Path) -> None:
        """Makes the run."""
        self.folder, self.run = folder, folder / "runs" / "shared" / "run"
        with open_run(self.run, "train", digits.get_config()) as opened:
            for name, value in _valid(digits.get_config().to_dict()).items():
                write_json(opened.path / name, value)
            rows = [
                {"step": n, "epoch": n, "train_loss": 1.0 / n, "train_accuracy": 0.5, "lr": 0.1}
                for n in (1, 2, 3)
            ]
            lines = (json.dumps(row) + "\n" for row in rows)
            opened.metrics.write_text("".join(lines))
            with checkpoints.Checkpoints(opened.checkpoints) as saved:
                saved.save(3, {"params": {"prompts": np.ones((2, 3), np.float32)}}, {"epoch": 3})
            (opened.path / "wandb").mkdir()
            (opened.path / "wandb" / "id.txt").write_text("0" * 32)
        self._predictions = self.run / "predictions" / "test.npz"
        save_predictions(self._predictions, _some_predictions())
        for place in (folder, folder / "runs" / "shared", self.run):
            (place / "configs").mkdir(exist_ok=True)
            for name in ("payload", "digits"):
                (place / f"{name}.py").write_text(PAYLOAD)
                (place / "configs" / f"{name}.py").write_text(PAYLOAD)
        names = [path for path in self.run.rglob("*") if path.is_file() and path.suffix != ".py"]
        self.files = {path.relative_to(self.run).as_posix(): path.read_bytes() for path in names}
        self._kinds = sorted({_kind(name) for name in self.files})
        self._mutated: set[str] = set()

    def mutate(self, stream: random.Random) -> list[str]:
        """Mutates one file, sometimes another too; returns the kinds of them."""
        kinds = [stream.choice(self._kinds)]
        if stream.random() < 0.2:
            kinds = sorted({*kinds, stream.choice(self._kinds)})
        for kind in kinds:
            name = stream.choice([name for name in self.files if _kind(name) == kind])
            self._mutated.add(name)
            if kind == "predictions" and stream.random() < 0.6:
                self._mutate_about(stream)
            else:
                contents = mutated(self.files[name], stream, name.endswith(".json"))
                (self.run / name).write_bytes(contents)
        return kinds

    def _mutate_about(self, stream: random.Random) -> None:
        """Predictions in a whole archive, with other values in what they tell of the dataset."""
        with np.load(self._predictions) as archive:
            arrays = dict(archive)
        arrays["about"] = np.array(json.dumps(_changed(json.loads(str(arrays["about"])), stream)))
        np.savez(self._predictions, **arrays)

    def put_back(self) -> None:
        """Undoes what :meth:`mutate` changed; no reader changes a file of these."""
        for name in self._mutated:
            (self.run / name).write_bytes(self.files[name])
        self._mutated.clear()


def readers(run: Path, kinds: Sequence[str], number: int) -> list[Callable[[], object]]:
    """What reads the files of these kinds in a run folder; the slow ones for some inputs only."""
    by_kind: dict[str, list[Callable[[], object]]] = {
        "checkpoints": [lambda: checkpoints.load(run)],
        "config.json": [
            lambda: read_contents(run),
            lambda: [read_records(path) for path in find_runs([run])],
            lambda: check_same_config(run, "train", digits.get_config()),
        ],
        "configuration.json": [lambda: read_contents(run)],
        "lock": [lambda: _refused_lock(run)],
        "metrics.jsonl": [lambda: read_contents(run)],
        "predictions": [
            lambda: load_predictions(run / "predictions" / "test.npz"),
            lambda: [commands(contents := read_contents(run)), contents],
        ],
        "results.json": [
            lambda: read_contents(run),
            lambda: [read_records(path) for path in find_runs([run])],
            lambda: read_origin(run),
        ],
        "sampled.json": [lambda: read_contents(run), lambda: read_origin(run)],
        "split.json": [lambda: read_split(run / "split.json", run)],
        "wandb": [lambda: _run_id(run / "wandb" / "id.txt")],
    }
    found = [read for kind in kinds for read in by_kind[kind]]
    if number % PAGES == 0:
        found += [lambda: _page_without_figures(run), lambda: _card(run)]
    if number % LOADS == 0:
        found.append(lambda: load_trained(run))
    if number % FIGURES == 0:
        found.append(lambda: page.write_report(run))
    return found


def try_readers(hostile: HostileRun, kinds: Sequence[str], number: int) -> list[str]:
    """What each reader ended in: "" for a value, else the name of our error.

    Raises:
      BaseException: whatever else one raised, or the audit hook for what is not reading of data.
    """
    ended = []
    for read in readers(hostile.run, kinds, number):
        try:
            with only_data(hostile.folder):
                read()
            ended.append("")
        except (DplError, *ALSO) as error:
            ended.append(type(error).__name__)
    return ended


def fuzz(folder: Path, inputs: int, seed: int, findings: Path | None = None) -> dict[str, dict]:
    """Counts, by the file that was mutated, of inputs that all read, that some refused, and else.

    Raises:
      AssertionError: at the first of "else", without a folder for findings.
    """
    hostile, stream = HostileRun(folder), random.Random(f"{seed}/run folder")
    before = Path.cwd()
    os.chdir(folder)
    counts: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    try:
        _warm_up(hostile)
        for number in range(inputs):
            kinds = hostile.mutate(stream)
            kind = kinds[0]
            signal.alarm(SECONDS)
            try:
                ended = try_readers(hostile, kinds, number)
                counts[kind]["refused" if any(ended) else "read"] += 1
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                if findings is None:
                    raise AssertionError(f"{kind}: {error!r:.300}") from error
                counts[kind][f"! {type(error).__name__}"] += 1
                _keep(findings, hostile, error)
            finally:
                signal.alarm(0)
                hostile.put_back()
            if findings is not None and (number + 1) % 1000 == 0:
                print(number + 1, {kind: dict(ended) for kind, ended in counts.items()}, flush=True)
    finally:
        os.chdir(before)
    return {kind: dict(ended) for kind, ended in counts.items()}


def _warm_up(hostile: HostileRun) -> None:
    """Reads the valid run with everything, so that no import is left for later."""
    for read in readers(hostile.run, sorted(map(_kind, hostile.files)), 0):
        with contextlib.suppress(DplError, *ALSO):
            read()
    hostile.put_back()


def _page_without_figures(run: Path) -> str:
    contents, drawn = read_contents(run), page.sections
    page.sections = lambda contents: []
    try:
        return page.render(contents)
    except (*page.UNSHOWN, DplError):  # what write_report turns into one error
        return ""
    finally:
        page.sections = drawn


def _refused_lock(run: Path) -> str:
    """What a refusal says of the process that holds the lock."""
    return _holder((run / "lock").read_bytes())


def _card(run: Path) -> str:
    origin = read_origin(run)
    return model_card(
        SimpleNamespace(  # type: ignore[arg-type]
            results=origin.results,
            classnames=origin.classnames,
            template=origin.template,
            learned=Discrete({}, {}),
            preprocessing=SimpleNamespace(size=32, crop=32, resample=3),
        ),
        "out",
    )


def _kind(name: str) -> str:
    return name.split("/")[0].split(".")[0] if "/" in name else name


def _some_predictions() -> Predictions:
    stream = np.random.default_rng(0)
    data = digits.get_config().data.to_dict()
    names = tuple(f"digit {number}" for number in range(6))
    logits = {name: stream.normal(size=(6, 3)).astype(np.float32) for name in ("dpl", "zero_shot")}
    return Predictions("digits", "test", data, tuple("abc"), names, np.arange(6) % 3, logits)


def _valid(config: dict[str, Any]) -> dict[str, Any]:
    scores = {"accuracy": 0.5, "macro_f1": 0.4, "calibration_error": 0.1}
    lengths = {"image": [2, 0, 1, 3], "text": [1, 0, 4]}
    results = {
        "kind": "train",
        "lengths": lengths,
        "lengths_file": "search/configuration.json",
        "trained": {"step": 3, "epoch": 3, "train_loss": 0.3, "train_accuracy": 0.5},
        "dataset": "digits",
        "split": "own",
        "classes": "all",
        "shots": 4,
        "seed": 1,
        "template": "a photo of {}.",
        "transform": {"size": 32, "crop": 32, "resample": 3},
        "sampled_files": {"train": {"images": 4, "sha256": "0" * 64}},
        "clip": {"path": "tiny", "revision": "", "sha256": "0" * 64, "dtype": "float32"},
        "versions": {"jax": "1"},
        "evaluations": {
            "test": {"images": 6, "sha256": "0" * 64, "zero_shot": scores, "dpl": scores}
        },
    }
    lists = {part: [["1.png", 0, "a"]] for part in ("train", "val", "test")}
    return {
        "results.json": results,
        "configuration.json": {"lengths": lengths, "prompt_tokens": 11},
        "sampled.json": {"classnames": ["a", "b", "c"], **lists},
        "split.json": lists,
    }


def _keep(findings: Path, hostile: HostileRun, error: BaseException) -> None:
    """The mutated files, once for each place in the code that it went wrong at."""
    text = "".join(traceback.format_exception(error))
    last = [line for line in text.splitlines() if line.startswith("  File")][-1]
    kept = findings / f"run-{abs(hash(last)) % 10**8}"
    if kept.exists():
        return
    kept.mkdir(parents=True)
    (kept / "error.txt").write_text(text, errors="backslashreplace")
    for name, contents in hostile.files.items():
        path = hostile.run / name
        if path.is_file() and path.read_bytes() != contents:
            (kept / name.replace("/", "_")).write_bytes(path.read_bytes())


def main() -> None:
    """Fuzzes as the command line says."""
    parser = argparse.ArgumentParser("python -m tests.hostile.run_folder")
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    signal.signal(signal.SIGALRM, _hang)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    findings = FINDINGS.resolve()
    with tempfile.TemporaryDirectory() as scratch, plot_style():
        counts = fuzz(Path(scratch), given.inputs, given.seed, findings)
    for kind, ended in sorted(counts.items()):
        print(f"{kind:20} {sum(ended.values()):7}  {ended}")
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MB")
    sys.exit(1 if findings.exists() else 0)


if __name__ == "__main__":
    main()
