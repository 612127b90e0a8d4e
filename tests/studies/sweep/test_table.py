"""The table against hand-made results, and the published numbers against each other."""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path

import pytest

from dpl_jax.files.json import read_json, write_json
from dpl_jax.runs.results import PROVENANCE
from dpl_jax.studies.sweep import published
from dpl_jax.studies.sweep.grid import PAPER, Cell, make_cells
from dpl_jax.studies.sweep.table import make_record, table, write_tables
from dpl_jax.studies.sweep.watch import Entry
from tests.support.repository import ROOT

T_OF_TWO = 12.7062047  # t(0.975, 1): the half-width of two values is t * |a - b| / 2
NUMBERS = read_json(published.FILE)["numbers"]


def accuracy(cell: Cell) -> float:
    return 0.5 + 0.01 * PAPER.index(cell.dataset) + 0.02 * cell.seed


def make_entry(cell: Cell, workdir: Path) -> Entry:
    entry = Entry(cell, workdir / cell.name, "finished")
    scores = {"accuracy": accuracy(cell), "macro_f1": 0.5, "calibration_error": 0.1}
    zero_shot = scores | {"accuracy": 0.4}
    results = dict.fromkeys(PROVENANCE, "same") | {"clip": {"path": "tiny"}, "lengths": {}}
    results["evaluations"] = {"test": {"images": 9, "dpl": scores, "zero_shot": zero_shot}}
    (entry.folder / "train").mkdir(parents=True)
    write_json(entry.folder / "train" / "results.json", results)
    return entry


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sweep")


@pytest.fixture(scope="module")
def entries(folder: Path) -> list[Entry]:
    return [make_entry(cell, folder) for cell in make_cells(PAPER, [16], [1, 2])]


def find(record: dict, dataset: str) -> dict:
    columns, rows = table(record)
    (row,) = (row for row in rows if row[0] == dataset)
    return dict(zip(columns, row, strict=True))


def test_a_row_is_the_mean_of_its_seeds_beside_published_numbers(
    entries: list[Entry], folder: Path
) -> None:
    row = find(make_record(entries, folder), "caltech101")
    assert (row["shots"], row["seeds"]) == (16, 2)
    assert row["DPL %"] == pytest.approx(54.0) and row["zero-shot %"] == pytest.approx(40.0)
    assert row["std"] == pytest.approx(math.sqrt(2))
    assert row["95 % interval"] == f"± {T_OF_TWO:.2f}"
    names = ("CoOp [A]", "CoCoOp [A]", "MaPLe [A]", "PromptSRC [A]", "PLOT++ [B]")
    assert [row[name] for name in names] == [95.57, 95.16, 96.0, 96.07, 96.04]


def test_the_average_is_taken_within_a_seed_and_only_of_a_whole_grid(
    entries: list[Entry], folder: Path
) -> None:
    row = find(make_record(entries, folder), "average of 11")
    assert row["DPL %"] == pytest.approx(50 + 5 + 3)
    assert row["95 % interval"] == f"± {T_OF_TWO:.2f}" and row["PromptSRC [A]"] == 82.87
    failed = Entry(entries[-1].cell, entries[-1].folder, "failed", message="why")
    record = make_record([*entries[:-1], failed], folder)
    assert record["unfinished"] == {"ucf101/shots16/seed2": "why"}
    assert "average of 11" not in [line[0] for line in table(record)[1]]
    assert find(record, "ucf101")["seeds"] == 1
    some = [entry for entry in entries if entry.cell.dataset != "imagenet"]
    assert find(make_record(some, folder), "average of 10")["PromptSRC [A]"] is None


def test_the_files_have_the_same_numbers(entries: list[Entry], folder: Path) -> None:
    record = make_record(entries, folder)
    write_tables(record, folder)
    assert read_json(folder / "table.json")["rows"] == record["rows"]
    rows = list(csv.DictReader(io.StringIO((folder / "table.csv").read_text())))
    assert len(rows) == 12 and float(rows[1]["CEPL [F]"]) == 97.04
    page = (folder / "table.md").read_text()
    assert "| caltech101 | 16 | 2 | 40.00 | 54.00 |" in page
    assert "| caltech101 | 16 | CLIP-LoRA | D | 96.43 |" in page
    for letter, about in published.about()["sources"].items():
        assert f"- [{letter}] {about}." in page


def test_rows_of_whole_tables_average_to_the_published_average() -> None:
    compared = 0
    for entry in NUMBERS:
        for shots, average in entry["accuracy"].get("average", {}).items():
            row = [entry["accuracy"].get(dataset, {}).get(shots) for dataset in PAPER]
            if None in row or entry["source"] == "D":
                continue
            compared += 1
            # A 4-shot row that its own source averages otherwise: docs/sweeps.md.
            misfit = 0.39 if (entry["method"], shots) == ("MaPLe", "4") else 0
            assert sum(row) / 11 == pytest.approx(average, abs=0.0151 + misfit), entry["method"]
    assert compared == 5 * 5 + 1


def test_figures_agree_with_tables_within_their_error() -> None:
    found = {(entry["method"], entry["source"]): entry["accuracy"] for entry in NUMBERS}
    for dataset, by_shots in found["PLOT++", "D"].items():
        expected = found["PLOT++", "B"][dataset]["16"]
        assert by_shots["16"] == pytest.approx(expected, abs=0.25), dataset


@pytest.mark.parametrize("dataset", PAPER)
def test_docstrings_of_configs_have_the_same_numbers(dataset: str) -> None:
    text = " ".join((ROOT / "configs" / f"{dataset}.py").read_text().split())
    known = {
        (each["method"], each["source"]): each["accuracy"]
        for each in published.published(dataset, 16)
    }
    for method in ("CoOp", "CoCoOp", "MaPLe", "PromptSRC"):
        (value,) = re.findall(rf"(?<!\w){method} (\d\d\.\d\d)", text)
        assert float(value) == known[method, "A"]


def test_every_source_is_explained() -> None:
    page = (ROOT / "docs" / "sweeps.md").read_text()
    assert {entry["source"] for entry in NUMBERS} == set(published.about()["sources"])
    for letter in published.about()["sources"]:
        assert f"| {letter} |" in page
    assert not any(entry["method"].startswith("DPL") for entry in NUMBERS)
