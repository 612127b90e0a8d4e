"""Saved predictions come back as they were, or are refused by name."""

from __future__ import annotations

import numpy as np
import pytest

from dpl_jax.errors import RunFolderError
from dpl_jax.runs.predictions import Predictions, load_predictions, save_predictions

NAMES = ("a/1.jpg", "<script>/ü 画.png", "undecodable \udcff.jpg", "")


@pytest.fixture
def predictions():
    random = np.random.default_rng(0)
    return Predictions(
        dataset="folder",
        split="test",
        data={"name": "folder", "root": "photos", "shots": 4},
        classnames=("cat", "<script>alert(1)</script>", "a very long class name " * 20),
        names=NAMES,
        labels=np.array([0, 2, 1, 2], np.int32),
        logits={
            method: random.standard_normal((4, 3)).astype(np.float32)
            for method in ("zero_shot", "dpl")
        },
    )


def test_predictions_come_back_as_they_were(predictions, tmp_path):
    path = tmp_path / "predictions" / "test.npz"
    save_predictions(path, predictions)
    found = load_predictions(path)
    assert found._replace(labels=0, logits=0) == predictions._replace(labels=0, logits=0)
    np.testing.assert_array_equal(found.labels, predictions.labels, strict=True)
    assert found.logits.keys() == predictions.logits.keys()
    for method, logits in predictions.logits.items():
        np.testing.assert_array_equal(found.logits[method], logits, strict=True)
    assert [file.name for file in path.parent.iterdir()] == ["test.npz"]


def test_a_write_that_fails_leaves_the_old_predictions(predictions, tmp_path):
    path = tmp_path / "test.npz"
    save_predictions(path, predictions)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="allow_pickle"):
        save_predictions(path, predictions._replace(logits={"dpl": Unfit()}))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["test.npz"]


class Unfit:
    """An array that fails when it is written, which is later than when it is made."""

    def __array__(self, dtype=None, copy=None):
        raise ValueError("allow_pickle")


def save_arrays(path, predictions, **changes):
    save_predictions(path, predictions)
    with np.load(path) as file:
        arrays = dict(file) | changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.array([0, 1, 2, 3])}, "labels do not fit"),
        ({"labels": np.array([0, 1, 2])}, "labels do not fit"),
        ({"logits_dpl": np.zeros((4, 2), np.float32)}, r"logits of dpl are \(4, 2\)"),
        ({"names": None}, "names"),
        ({"about": np.asarray("{}")}, "dataset"),
        ({"about": np.asarray("not json")}, "Expecting value"),
        ({"names": np.array([{"a": 1}], object)}, "pickle"),
    ],
)
def test_what_does_not_fit_is_refused(predictions, tmp_path, changes, message):
    path = tmp_path / "test.npz"
    save_arrays(path, predictions, **changes)
    with pytest.raises(RunFolderError, match=rf"test\.npz.*{message}.*Evaluate the run again"):
        load_predictions(path)


def test_a_damaged_or_missing_file_is_named(predictions, tmp_path):
    path = tmp_path / "test.npz"
    with pytest.raises(RunFolderError, match=r"test\.npz"):
        load_predictions(path)
    save_predictions(path, predictions)
    whole = path.read_bytes()
    for damaged in (b"", b"nonsense", whole[: len(whole) // 2], whole[:200] + whole[210:]):
        path.write_bytes(damaged)
        with pytest.raises(RunFolderError, match=r"test\.npz.*Evaluate the run again"):
            load_predictions(path)
