"""More epochs for a run: the same as if it had been started with them, or refused with the why."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from configs import digits
from dpl_jax.errors import RunFolderError
from dpl_jax.evaluate import evaluate
from dpl_jax.runs import checkpoints
from dpl_jax.search import search
from dpl_jax.train import train

CONSTANT = {"search.prompts.schedule": "constant", "train.prompts.schedule": "constant"}


def run(stage: str, files: Path, folder: Path, fields: dict[str, Any], **own: Any) -> Path:
    config = digits.get_config("shots=2,seed=3")
    own = {name.replace("__", "."): value for name, value in own.items()}
    config.update_from_flattened_dict(fields | {"checkpoint.every_steps": 0} | own)
    if stage == "search":
        return search(config, folder)
    return train(config, files / "lengths.json", folder)


@pytest.mark.parametrize("stage", ["search", "train"])
def test_an_extended_run_is_the_longer_run(
    stage: str, files: Path, fields: dict[str, Any], tmp_path: Path
) -> None:
    fields = fields | CONSTANT
    longer = run(stage, files, tmp_path / "longer", fields | {f"{stage}.epochs": 3})
    extended = run(stage, files, tmp_path / "run", fields | {f"{stage}.epochs": 1})
    shorter = (extended / "results.json").read_bytes()
    run(stage, files, extended, fields | {f"{stage}.epochs": 3})
    for name in ("metrics.jsonl", "results.json", "configuration.json"):
        assert (extended / name).read_bytes() == (longer / name).read_bytes()
    ours, theirs = checkpoints.load(extended), checkpoints.load(longer)
    assert (ours.step, ours.metadata) == (theirs.step, theirs.metadata)
    jax.tree.map(np.testing.assert_array_equal, ours.tree, theirs.tree)
    assert (extended / "results-1-epochs.json").read_bytes() == shorter
    changes = json.loads((extended / "config.json").read_text())["changes"]
    assert changes[0]["fields"] == {f"{stage}.epochs": [1, 3]}


@pytest.mark.parametrize(
    ("own", "epochs", "why"),
    [
        ({}, 2, "The cosine of the learning rate is as long as the epochs"),
        (CONSTANT | {"search.entropy": 0.1}, 2, "search.entropy takes all epochs"),
        (CONSTANT | {"search.final_temperature": 0.5}, 2, "search.final_temperature takes all"),
        (CONSTANT, 0, "must be at least 1"),
    ],
)
def test_what_would_have_been_done_otherwise_is_refused(
    own: dict[str, Any],
    epochs: int,
    why: str,
    files: Path,
    fields: dict[str, Any],
    tmp_path: Path,
) -> None:
    run("search", files, tmp_path, fields | own | {"search.epochs": 1})
    before = (tmp_path / "results.json").read_bytes()
    with pytest.raises(ValueError, match=why):
        run("search", files, tmp_path, fields | own | {"search.epochs": epochs})
    assert (tmp_path / "results.json").read_bytes() == before


def test_an_extended_run_counts_as_not_finished_until_it_is(
    files: Path, fields: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = fields | CONSTANT
    run("search", files, tmp_path, fields | {"search.epochs": 1})
    monkeypatch.setattr("dpl_jax.search.run_epochs", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("search", files, tmp_path, fields | {"search.epochs": 2})
    with pytest.raises(RunFolderError, match="has not finished"):
        evaluate(tmp_path)
    monkeypatch.undo()
    with pytest.raises(RunFolderError, match="can be given more, never fewer"):
        run("search", files, tmp_path, fields | {"search.epochs": 1})
    run("search", files, tmp_path, fields | {"search.epochs": 2})
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2
