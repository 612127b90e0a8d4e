"""Many runs in one table: run folders made by hand, whose numbers are known."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest

from configs import digits
from dpl_jax.errors import RunFolderError
from dpl_jax.results import main
from dpl_jax.studies.aggregate.rows import aggregate

SHA = "0123456789abcdef" * 4
# t(0.975, 2), from a table.
T_OF_THREE = 4.30265273


def scores(accuracy):
    """Each metric a number of its own."""
    return {
        "accuracy": accuracy,
        "macro_f1": accuracy - 0.01,
        "calibration_error": 1 - accuracy,
        "per_class": [accuracy, None],
    }


def evaluation(accuracy, zero_shot=0.5):
    numbers = {"zero_shot": scores(zero_shot), "dpl": scores(accuracy)}
    return {"images": 540, "sha256": SHA, **numbers}


def write_run(folder, accuracy=None, kind="train", evaluations=None, **fields):
    """A run as its config and its results describe it; fields are those of the config."""
    config = digits.get_config()
    config.update_from_flattened_dict(fields)
    data = config.data
    results = {
        "kind": kind,
        "seed": config.seed,
        "dataset": data.name,
        "classes": data.classes,
        "shots": data.shots,
        "template": data.template or "a photo of the digit {}.",
        "clip": {"sha256": SHA},
    }
    if accuracy is not None:
        evaluations = {"test": evaluation(accuracy)}
    if evaluations is not None:
        results["evaluations"] = evaluations
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"kind": kind, "config": config.to_dict()}))
    (folder / "results.json").write_text(json.dumps(results))
    return folder


def by_method(rows, **about):
    """The only row of each method that has these values."""
    chosen = [row for row in rows if about.items() <= row.about.items()]
    found = {row.about["method"]: row for row in chosen}
    assert len(found) == len(chosen)
    return found


@pytest.fixture
def seeds(tmp_path):
    for seed, accuracy in ((1, 0.80), (2, 0.82), (3, 0.87)):
        write_run(tmp_path / "runs" / f"seed{seed}", accuracy, seed=seed)
    return tmp_path / "runs"


def test_runs_that_differ_in_their_seed_are_one_row(seeds):
    rows, left_out = aggregate([seeds])
    found = by_method(rows)
    assert not left_out and list(found) == ["zero_shot", "dpl"]
    assert found["dpl"].seeds == 3
    width = T_OF_THREE * math.sqrt(13 / 3)
    expected = {
        "accuracy": (83, math.sqrt(13), width),
        "macro_f1": (82, math.sqrt(13), width),
        "calibration_error": (17, math.sqrt(13), width),
    }
    for metric, numbers in expected.items():
        assert found["dpl"].metrics[metric] == pytest.approx(numbers, rel=1e-8)
        assert found["zero_shot"].metrics[metric][1:] == (0, 0)


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("data.shots", 4, {"shots": 4}),
        ("data.classes", "base", {"classes": "base"}),
        ("data.template", "the {}.", {"template": "the {}."}),
        ("search.max_context_length", 10, {"settings": "search.max_context_length=10"}),
        ("train.prompts.momentum", 0.5, {"settings": "train.prompts.momentum=0.5"}),
        ("clip.dtype", "bfloat16", {"settings": 'clip.dtype="bfloat16"'}),
    ],
)
def test_what_changes_a_result_makes_another_row(field, value, shown, seeds):
    write_run(seeds / "other", 0.1, **{field: value})
    rows, _ = aggregate([seeds])
    assert len(rows) == 4
    assert by_method(rows, **shown)["dpl"].metrics["accuracy"] == (10, None, None)
    assert sorted(row.seeds for row in rows) == [1, 1, 3, 3]


@pytest.mark.parametrize(
    ("field", "value"),
    [("data.workers", 3), ("data.root", "elsewhere"), ("checkpoint.keep", 5), ("progress", "off")],
)
def test_what_changes_no_result_makes_none(field, value, seeds):
    write_run(seeds / "other", 0.1, seed=4, **{field: value})
    rows, _ = aggregate([seeds])
    assert [row.seeds for row in rows] == [4, 4]
    assert {row.about["settings"] for row in rows} == {""}


def test_a_search_does_not_depend_on_the_training(tmp_path):
    for seed in (1, 2):
        write_run(tmp_path / f"{seed}", 0.5, "search", seed=seed, **{"train.epochs": seed})
    rows, _ = aggregate([tmp_path])
    assert [row.seeds for row in rows] == [2, 2]


def test_other_weights_and_other_images_are_other_rows(seeds):
    for path in (("clip",), ("evaluations", "test")):
        file = write_run(seeds / path[-1], 0.1, seed=4) / "results.json"
        results = place = json.loads(file.read_text())
        for name in path:
            place = place[name]
        place["sha256"] = "f" * 64
        file.write_text(json.dumps(results))
    rows, _ = aggregate([seeds])
    assert sorted(row.seeds for row in rows) == [1, 1, 1, 1, 3, 3]


def test_every_evaluation_is_a_row(tmp_path):
    evaluations = {"test": evaluation(0.9), "digits-new-test": evaluation(0.7, zero_shot=0.6)}
    write_run(tmp_path / "run", evaluations=evaluations)
    rows, _ = aggregate([tmp_path])
    new = by_method(rows, **{"evaluated on": "digits-new-test"})
    assert new["dpl"].metrics["accuracy"].mean == pytest.approx(70)
    assert new["zero_shot"].metrics["accuracy"].mean == pytest.approx(60)


def test_members_of_an_ablation_are_rows_by_context_length(tmp_path):
    folder = write_run(tmp_path / "run", kind="ablate")
    results = json.loads((folder / "results.json").read_text())
    members = [
        {"max_context_length": T, "seed": s, "supernet": scores(0.1 * s), "dpl": scores(0.05 * T)}
        for T in (10, 2)
        for s in (1, 2)
    ]
    results |= {"images": 540, "zero_shot": scores(0.5), "members": members}
    (folder / "ablation.json").write_text(json.dumps(results))
    rows, _ = aggregate([tmp_path])
    names = [f"search.max_context_length={T}" for T in (2, 10)]
    assert [row.about["settings"] for row in rows] == [names[0]] * 3 + [names[1]] * 3
    for name, dpl in zip(names, (10, 50), strict=True):
        found = by_method(rows, settings=name)
        assert found["dpl"].metrics["accuracy"] == pytest.approx((dpl, 0, 0))
        assert found["supernet"].metrics["accuracy"].mean == pytest.approx(15)
        assert found["zero_shot"].seeds == 2


def test_methods_of_a_comparison_are_rows(tmp_path):
    folder = write_run(tmp_path / "run", kind="compare")
    results = json.loads((folder / "results.json").read_text())
    seeds = {"1": scores(0.3) | {"images": 540}, "2": scores(0.5) | {"images": 540}}
    results["methods"] = {"coop": {"title": "CoOp", "seeds": seeds}}
    (folder / "compare.json").write_text(json.dumps(results))
    rows, _ = aggregate([tmp_path])
    assert by_method(rows)["coop"].metrics["accuracy"].mean == pytest.approx(40)
    assert by_method(rows)["coop"].seeds == 2


def test_results_without_a_metric_have_none_of_it(seeds):
    path = seeds / "seed2" / "results.json"
    results = json.loads(path.read_text())
    del results["evaluations"]["test"]["dpl"]["calibration_error"]
    path.write_text(json.dumps(results))
    found = by_method(aggregate([seeds])[0])["dpl"]
    assert found.metrics["calibration_error"] is None
    assert found.metrics["accuracy"].mean == pytest.approx(83)


def test_a_run_counts_once(seeds):
    rows, left_out = aggregate([seeds, seeds / "seed1", seeds / ".." / "runs"])
    assert [row.seeds for row in rows] == [3, 3] and not left_out


def test_a_seed_counts_once(seeds):
    again = write_run(seeds / "seed3-again", 0.1, seed=3)
    rows, left_out = aggregate([seeds])
    assert by_method(rows)["dpl"].metrics["accuracy"].mean == pytest.approx(83)
    assert [runs for reason, runs in left_out.items() if "seed" in reason] == [[again]]


def test_what_has_no_results_is_left_out_with_the_reason(seeds, tmp_path, capsys):
    unfinished = write_run(seeds / "unfinished")
    (unfinished / "results.json").unlink()
    write_run(seeds / "unseen")
    write_run(seeds / "damaged", 0.1, seed=5)
    (seeds / "damaged" / "results.json").write_text('{"evaluations": {"test": {"dpl": {}}}}')
    (tmp_path / "photos").mkdir()
    main([str(seeds), str(tmp_path / "photos")])
    captured = capsys.readouterr()
    assert sorted(captured.err.splitlines()) == [
        f"Left out, files that cannot be read: {seeds / 'damaged'}",
        f"Left out, no run in it: {tmp_path / 'photos'}",
        f"Left out, not evaluated: {seeds / 'unseen'}",
        f"Left out, not finished: {seeds / 'unfinished'}",
    ]
    assert "83.00" in captured.out


def test_a_folder_of_weights_is_no_run(seeds):
    (seeds / "clip").mkdir()
    (seeds / "clip" / "config.json").write_text('{"model_type": "clip"}')
    assert not aggregate([seeds])[1]


def test_nothing_found_is_an_error(tmp_path):
    with pytest.raises(RunFolderError, match=r"nowhere: no run in it"):
        aggregate([tmp_path / "nowhere"])
    with pytest.raises(SystemExit, match=r"^error: No results were found"):
        main([str(tmp_path)])


def test_text_says_once_what_all_rows_share(seeds, capsys):
    write_run(seeds / "other", 0.4, **{"data.shots": 4})
    main([str(seeds)])
    caption, head, rule, *rows = capsys.readouterr().out.splitlines()
    assert "dataset digits" in caption and "CLIP tiny (01234567)" in caption
    assert "shots" not in caption and head.split()[:3] == ["shots", "method", "seeds"]
    assert set(rule) == {"-", " "}
    assert [row.split()[:4] for row in rows] == [
        ["4", "zero_shot", "1", "50.00"],
        ["4", "dpl", "1", "40.00"],
        ["16", "zero_shot", "3", "50.00"],
        ["16", "dpl", "3", "83.00"],
    ]
    assert rows[3].split()[4:6] == ["3.61", "8.96"]


def test_csv_has_every_column_and_all_digits(seeds, tmp_path):
    main([str(seeds), "--format=csv", f"--output={tmp_path / 'table.csv'}"])
    text = (tmp_path / "table.csv").read_bytes().decode()
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    assert [row["method"] for row in rows] == ["zero_shot", "dpl"]
    assert rows[1]["kind"] == "train" and rows[1]["template"] == "a photo of the digit {}."
    assert float(rows[1]["accuracy_std"]) == pytest.approx(math.sqrt(13), rel=1e-12)
    assert float(rows[1]["calibration_error_percent"]) == pytest.approx(17, rel=1e-12)
    assert rows[1]["seeds"] == "3"


@pytest.mark.parametrize(("style", "rule"), [("markdown", "| --- |"), ("latex", r"\midrule")])
def test_other_formats(style, rule, seeds, capsys):
    main([str(seeds), f"--format={style}"])
    found = capsys.readouterr().out
    assert rule in found and "83.00" in found and "dataset digits" in found


def test_a_table_that_cannot_be_written_is_one_message(seeds, tmp_path):
    with pytest.raises(SystemExit, match=r"^error: .*table\.md cannot be written"):
        main([str(seeds), f"--output={tmp_path / 'nowhere' / 'table.md'}"])
