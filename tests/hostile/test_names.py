"""Names that are commands to a terminal, to a page, to LaTeX or to a formula are only shown."""

from __future__ import annotations

import io
import logging

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from dpl_jax.cli.main import _Printable
from dpl_jax.files.printable import never_fail_to_print, printable
from dpl_jax.summary.plots import save_plot
from dpl_jax.summary.table import markdown_table, print_table, text_table

HOSTILE = "\x1b]0;owned\x07\x1b[31m[red]<script>alert(1)</script> {{7*7}} $\\frac{$"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_no_command_to_the_terminal_gets_through_a_table():
    for file in (io.StringIO(), Terminal()):
        print_table(HOSTILE, [HOSTILE], [[HOSTILE], [None]], file)
        shown = file.getvalue()
        assert "\x1b]" not in shown and "\x07" not in shown and "\x1b[31m" not in shown
        assert "[red]" in shown
    assert "\x1b" not in text_table([HOSTILE], [[HOSTILE]])


def test_no_tag_gets_through_a_markdown_table():
    table = markdown_table(["class"], [["<img src=x onerror=alert(1)> [a](javascript:b) `c`"]])
    assert "<img" not in table and "\\[a\\]" in table and "\\`c\\`" in table


def test_no_command_to_the_terminal_gets_through_a_warning():
    record = logging.LogRecord("a", logging.WARNING, "b", 1, "%s\nnext", (HOSTILE,), None)
    shown = _Printable("%(message)s").format(record)
    assert shown == printable(HOSTILE) + "\nnext"


def test_a_dollar_sign_in_a_plot_is_no_formula(tmp_path):
    figure = Figure()
    axes = figure.subplots()
    axes.set_title(HOSTILE)
    axes.set_yticks([0], [printable(HOSTILE)])
    axes.plot(np.arange(3), label=HOSTILE)
    axes.legend()
    # The font of the plots lacks what stands in the place of a control character.
    matplotlib.set_loglevel("error")
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        save_plot(figure, tmp_path / "x")
    svg = (tmp_path / "x.svg").read_text()
    assert "<script>" not in svg and "$\\frac{$" in svg


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_output_never_ends_of_its_encoding(monkeypatch, encoding):
    names = "\u732b, caf\u00e9, m\u200cn, \U0001f469\u200d\U0001f680, \udce9"
    files = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
    monkeypatch.setattr("sys.stdout", files[0])
    monkeypatch.setattr("sys.stderr", files[1])
    never_fail_to_print()
    for file in files:
        print(names, file=file, flush=True)
        written = file.buffer.getvalue().decode(encoding).rstrip("\n")
        assert written == names.encode(encoding, "backslashreplace").decode(encoding)


def test_signs_of_ordinary_text_stay_as_they_are():
    for name in ("m\u200cn", "a\u00a0b", "\U0001f469\u200d\U0001f680", "\u05e9\u200f", "\u3000"):
        assert printable(name) == name
    for sign in ("\x1b", "\x07", "\x7f", "\x9b", "\u202e", "\u2066", "\udce9", "\n"):
        assert printable(f"a{sign}b") == "a\N{REPLACEMENT CHARACTER}b"
