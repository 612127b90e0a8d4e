import io
import math

import numpy as np
import pytest

from dpl_jax.statistics import mean_interval
from dpl_jax.table import markdown_table, print_table, text_table

COLUMNS = ["method", "accuracy %", "seeds"]
ROWS = [["zero-shot", 41.234, 1], ["DPL [bold]|", 90.0, 3], ["none", None, 0]]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_plain_text_is_aligned():
    assert text_table(COLUMNS, ROWS).splitlines() == [
        "method       accuracy %  seeds",
        "-----------  ----------  -----",
        "zero-shot         41.23      1",
        "DPL [bold]|       90.00      3",
        "none                  -      0",
    ]


def test_markdown_escapes_what_would_end_a_cell():
    assert markdown_table(COLUMNS, ROWS).splitlines() == [
        "| method | accuracy % | seeds |",
        "| --- | ---: | ---: |",
        "| zero-shot | 41.23 | 1 |",
        "| DPL [bold]\\| | 90.00 | 3 |",
        "| none | - | 0 |",
    ]


def test_a_log_gets_plain_text_and_a_terminal_a_drawn_table():
    log, terminal = io.StringIO(), Terminal()
    print_table("Digits", COLUMNS, ROWS, file=log)
    print_table("Digits", COLUMNS, ROWS, file=terminal)
    assert log.getvalue() == "Digits\n" + text_table(COLUMNS, ROWS) + "\n"
    drawn = terminal.getvalue()
    assert "┃" in drawn
    assert all(text in drawn for text in ("Digits", "41.23", "DPL [bold]|"))


def test_a_table_without_rows_has_its_head():
    assert text_table(["a", "bc"], []).splitlines() == ["a  bc", "-  --"]


def test_mean_interval_of_known_values():
    # 80, 82, 87: mean 83, standard deviation sqrt((9 + 1 + 16) / 2); t(0.975, 2) = 4.30265273.
    found = mean_interval([80, 82, 87])
    assert found.mean == 83
    assert found.std == pytest.approx(math.sqrt(13), rel=1e-12)
    assert found.half_width == pytest.approx(4.30265273 * math.sqrt(13 / 3), rel=1e-8)


def test_mean_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    draws = rng.normal(3.0, 2.0, size=(4000, 3))
    intervals = [mean_interval(draw, confidence=0.8) for draw in draws]
    covered = np.mean([abs(found.mean - 3.0) <= found.half_width for found in intervals])
    assert covered == pytest.approx(0.8, abs=0.025)


def test_one_value_has_no_interval():
    assert mean_interval([91.5]) == (91.5, None, None)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")]])
def test_no_mean_of_nothing_or_of_what_is_not_finite(values):
    with pytest.raises(ValueError, match="at least one number"):
        mean_interval(values)
