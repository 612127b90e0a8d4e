"""The protocols' tables against the results.json of the very runs, and what is run again."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from dpl_jax.errors import ConfigError, RunFolderError
from dpl_jax.runs.predictions import load_predictions
from dpl_jax.studies import finished_stages as reuse
from dpl_jax.studies.protocols import base_to_new, fewshot, transfer
from tests.studies.protocols.conftest import SEEDS

# t(0.975, 1), from a table: the half-width of two values is t * |a - b| / 2.
T_OF_TWO = 12.7062047


def read(path):
    return json.loads(Path(path).read_text())


def accuracies(folder, name="test", method="dpl"):
    """In percent, by seed, from the runs themselves."""
    runs = [read(folder / f"train-seed{seed}" / "results.json") for seed in SEEDS]
    return [100 * run["evaluations"][name][method]["accuracy"] for run in runs]


def mean_std_width(values):
    one, other = values
    return (one + other) / 2, abs(one - other) / math.sqrt(2), T_OF_TWO * abs(one - other) / 2


@pytest.fixture
def nothing_runs(monkeypatch):
    """Searching, training or evaluating fails."""

    def refuse(*_, **__):
        raise AssertionError("run again")

    for name in ("search", "train", "evaluate"):
        monkeypatch.setattr(reuse, name, refuse)


def test_few_shot_table_has_the_numbers_of_the_runs(few):
    record = read(few / "fewshot.json")
    columns, rows = fewshot.table(record)
    assert [row[0] for row in rows] == ["1", "2"]
    for shots, row in zip((1, 2), rows, strict=True):
        own = few / f"shots{shots}"
        mean, std, width = mean_std_width(accuracies(own))
        found = dict(zip(columns, row, strict=True))
        assert found["zero-shot %"] == pytest.approx(accuracies(own, method="zero_shot")[0])
        assert found["DPL %"] == pytest.approx(mean)
        assert found["std"] == pytest.approx(std)
        assert found["95 % interval"] == f"± {width:.2f}"
    assert rows[0][2:] != rows[1][2:]


def test_every_run_has_its_shots_and_its_seed(few):
    for run in read(few / "fewshot.json")["runs"]:
        results = read(few / run["train"] / "results.json")
        assert results["shots"] == run["shots"] and results["seed"] == run["seed"]
        assert results["evaluations"]["test"] == run["test"]
        assert results["sampled_files"]["train"]["images"] == 10 * run["shots"]
        assert results["sampled_files"] == run["sampled_files"]
        assert read(few / run["search"] / "configuration.json")["lengths"] == run["lengths"]


def test_one_shot_searches_on_other_images_than_it_trains_on(few):
    sampled = read(few / "shots1" / "search-seed1" / "sampled.json")
    train, val = ({name for name, *_ in sampled[split]} for split in ("train", "val"))
    assert len(train) == len(val) == 10 and not train & val


def test_a_record_says_where_its_numbers_come_from(few):
    record = read(few / "fewshot.json")
    results = read(few / "shots1" / "train-seed1" / "results.json")
    shared = ("dataset", "split", "classes", "template", "transform", "clip", "versions")
    assert {name: record[name] for name in shared} == {name: results[name] for name in shared}
    assert not {"shots", "seed", "sampled_files"} & record.keys()


def test_the_plot_shows_means_seeds_and_zero_shot(few):
    axes = fewshot.draw(read(few / "fewshot.json")).axes[0]
    by_shots = [accuracies(few / f"shots{shots}") for shots in (1, 2)]
    level, series = axes.get_lines()[:2]
    zero_shot = accuracies(few / "shots1", method="zero_shot")[0]
    np.testing.assert_allclose(level.get_ydata(), [zero_shot] * 2)
    assert list(series.get_xdata()) == [1, 2]
    np.testing.assert_allclose(list(series.get_ydata()), np.mean(by_shots, axis=1))
    dots = np.concatenate([np.asarray(dots.get_offsets()[:, 1]) for dots in axes.collections[-2:]])
    np.testing.assert_allclose(dots, np.ravel(by_shots))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2"]
    for suffix, start in ((".png", b"\x89PNG"), (".svg", b"<?xml")):
        assert (few / f"fewshot{suffix}").read_bytes().startswith(start)


def test_base_to_new_table_has_the_numbers_of_the_runs(halves):
    columns, rows = base_to_new.table(read(halves / "base_to_new.json"))
    for method, row in zip(("zero_shot", "dpl"), rows, strict=True):
        base = accuracies(halves, method=method)
        new = accuracies(halves, "digits-new-test", method)
        harmonic = [2 / (1 / b + 1 / n) for b, n in zip(base, new, strict=True)]
        mean, std, width = mean_std_width(harmonic)
        found = dict(zip(columns, row, strict=True))
        assert found["base %"] == pytest.approx(np.mean(base))
        assert found["new %"] == pytest.approx(np.mean(new))
        assert found["H %"] == pytest.approx(mean)
        assert found["std"] == pytest.approx(std, abs=1e-9)
        assert found["95 % interval"] == f"± {width:.2f}"
        expected = 2 / (1 / np.mean(base) + 1 / np.mean(new))
        assert found["H of the means %"] == pytest.approx(expected)
    assert rows[0][1:3] != rows[1][1:3]


def test_new_classes_are_the_other_half(halves):
    run = halves / "train-seed1"
    base = load_predictions(run / "predictions" / "test.npz")
    new = load_predictions(run / "predictions" / "digits-new-test.npz")
    assert base.classnames == ("zero", "one", "two", "three", "four")
    assert new.classnames == ("five", "six", "seven", "eight", "nine")
    targets = load_digits().target
    for predictions, first in ((base, 0), (new, 5)):
        digits = [targets[int(name.removeprefix("digits/"))] for name in predictions.names]
        np.testing.assert_array_equal(digits, predictions.labels + first)
    assert len(base.names) + len(new.names) == 540
    trained_on = {name for name, *_ in read(run / "sampled.json")["train"]}
    assert {targets[int(name.removeprefix("digits/"))] for name in trained_on} == set(range(5))


def test_transfer_table_has_the_numbers_of_the_runs(transferred):
    columns, rows = transfer.table(read(transferred / "transfer.json"))
    assert columns == ["method", "digits (source) %", "photos %", "digits-new %", "average %"]
    for method, first in (("zero_shot", 0), ("dpl", 3)):
        names = ("test", "photos-all-test", "digits-new-test")
        by_column = [accuracies(transferred, name, method) for name in names]
        by_column.append([(a + b) / 2 for a, b in zip(*by_column[1:], strict=True)])
        expected = np.transpose([mean_std_width(values) for values in by_column])
        found = np.array([row[1:] for row in rows[first : first + 3]], float)
        np.testing.assert_allclose(found, expected, atol=1e-9)
    assert read(transferred / "transfer.json")["runs"][0]["targets"]["photos"]["images"] == 15


def test_a_second_call_runs_nothing(config, few, halves, transferred, target_files, nothing_runs):
    before = {path: read(path) for path in (few / "fewshot.json", halves / "base_to_new.json")}
    fewshot.fewshot(config, [1, 2], SEEDS, few)
    base_to_new.base_to_new(config, SEEDS, halves)
    transfer.transfer(config, transfer.read_targets(target_files, config), SEEDS, transferred)
    assert before == {path: read(path) for path in before}


def test_what_is_missing_is_done(config, halves, tmp_path, monkeypatch):
    """An evaluation that was lost, and one whose texts are others now; no run is started."""
    shutil.copytree(halves, tmp_path / "runs")
    lost = tmp_path / "runs" / "train-seed2" / "results.json"
    results = read(lost)
    del results["evaluations"]["digits-new-test"]
    lost.write_text(json.dumps(results))
    evaluated, evaluate = [], reuse.evaluate

    def count(run, *arguments, **named):
        evaluated.append(Path(run).name)
        return evaluate(run, *arguments, **named)

    monkeypatch.setattr(reuse, "evaluate", count)
    monkeypatch.setattr(reuse, "train", None)
    base_to_new.base_to_new(config, SEEDS, tmp_path / "runs")
    assert evaluated == ["train-seed2"]
    assert read(tmp_path / "runs" / "base_to_new.json") == read(halves / "base_to_new.json")
    other = config.copy_and_resolve_references()
    other.data.classes, other.data.template = "new", "the number {}."
    reuse.evaluate_once(tmp_path / "runs" / "train-seed1", other)
    assert evaluated == ["train-seed2", "train-seed1"]


def test_runs_of_other_settings_are_not_taken_for_finished(config, few, tmp_path):
    other = config.copy_and_resolve_references()
    other.train.batch_size = 2
    with pytest.raises(RunFolderError, match=r"train\.batch_size"):
        fewshot.fewshot(other, [2], SEEDS, few)
    shutil.copytree(few / "shots2", tmp_path / "runs")
    configuration = tmp_path / "runs" / "search-seed1" / "configuration.json"
    found = read(configuration)
    found["lengths"]["image"] = [0, 0, 0]
    configuration.write_text(json.dumps(found))
    own = config.copy_and_resolve_references()
    with pytest.raises(ConfigError, match="other prompt lengths"):
        reuse.train_once(own, tmp_path / "runs" / "search-seed1", tmp_path / "runs" / "train-seed1")


@pytest.mark.parametrize(
    ("shots", "seeds", "message"),
    [
        ([0, 1], [1], "--shots is '0,1'"),
        ([1, 1], [1], "--shots is '1,1'"),
        ([1], [], "--seeds is ''"),
        ([1], [-1], "--seeds is '-1'"),
    ],
)
def test_numbers_that_make_no_protocol(config, shots, seeds, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        fewshot.fewshot(config, shots, seeds, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_targets_that_cannot_be_read(config, target_files, tmp_path):
    (tmp_path / "no_config.py").write_text("")
    for files, message in (
        ([], "names no config"),
        (["configs/nothing.py"], "no config file configs/nothing.py"),
        ([str(tmp_path / "no_config.py")], "no_config.py is no config"),
        (["recipes/tiny/config.py"], "is no config of a dataset"),
        ([f"{target_files[1]}s"], "data.classes is 'news'"),
        ([target_files[0], target_files[0]], "names photos twice"),
    ):
        with pytest.raises(ValueError, match=message):
            targets = transfer.read_targets(files, config)
            transfer.transfer(config, targets, SEEDS, tmp_path / "runs")
        assert not (tmp_path / "runs").exists()


def test_a_target_lies_where_the_source_lies(config, target_files):
    source = config.copy_and_resolve_references()
    source.data.root = "elsewhere"
    roots = [target.data.root for target in transfer.read_targets(target_files, source).values()]
    assert roots[0].endswith("photos") and roots[1] == "elsewhere"
    source.data.name = "folder"
    assert transfer.read_targets(target_files[1:], source)["digits-new"].data.root == ""
