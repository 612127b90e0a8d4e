"""The comparison's table on constructed numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dpl_jax.studies.comparison.report import clear, difference, table


def method(title: str, accuracies: list[float], **fields: Any) -> dict[str, Any]:
    rest = {"macro_f1": 0.5, "calibration_error": 0.1, "parameters": 10, "prompt_tokens": None}
    seeds = {
        # in another order than the numbers', as JSON's keys may be
        str(seed): rest | {"accuracy": accuracy, "seconds": None} | fields
        for seed, accuracy in reversed(list(zip((2, 10, 11), accuracies, strict=True)))
    }
    return {"title": title, "seeds": seeds}


@pytest.fixture
def found() -> dict[str, Any]:
    methods = {
        "near": method("near", [0.81, 0.89, 0.71]),
        "worse": method("worse", [0.70, 0.81, 0.59], prompt_tokens=4, seconds=2.0),
        "dpl": method("DPL", [0.80, 0.90, 0.70]),
    }
    return {"dataset": "digits", "shots": 16, "methods": methods}


def test_differences_are_taken_seed_by_seed(found: dict[str, Any]) -> None:
    near, worse = difference(found, "near"), difference(found, "worse")
    assert near.mean == pytest.approx(1 / 3)  # of 1, -1, 1 points
    assert worse.mean == pytest.approx(-10)  # of -10, -9, -11
    # t(0.975, 2) = 4.302653, by the table
    assert worse.half_width == pytest.approx(4.302653 * 1 / np.sqrt(3), rel=1e-6)
    assert clear(worse) and not clear(near)


def test_only_clear_differences_have_a_star(found: dict[str, Any]) -> None:
    columns, rows = table(found)
    cells = {row[0]: dict(zip(columns, row, strict=True)) for row in rows}
    assert cells["worse"]["minus DPL"] == "-10.00 *"
    assert cells["near"]["minus DPL"] == "+0.33"
    assert cells["DPL"]["minus DPL"] is None
    assert cells["worse"]["accuracy %"] == pytest.approx(70)
    assert cells["worse"]["prompt tokens"] == 4 and cells["near"]["prompt tokens"] is None
    assert cells["worse"]["seconds"] == 2 and cells["near"]["seconds"] is None
    # the accuracies themselves overlap widely: 70 +- 27 beside 80 +- 25
    assert cells["worse"]["95 % interval"] == "± 27.33"


def test_one_seed_decides_nothing() -> None:
    one = {"title": "m", "seeds": {"1": {"accuracy": 0.1}}}
    dpl = {"title": "DPL", "seeds": {"1": {"accuracy": 0.9}}}
    assert not clear(difference({"methods": {"m": one, "dpl": dpl}}, "m"))
