import csv
import io
import re

import hypothesis
from hypothesis import strategies as st

from dpl_jax.summary.table import csv_table, latex_table, markdown_table, print_table, text_table

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)

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
        "| DPL \\[bold\\]\\| | 90.00 | 3 |",
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


def read_csv(text):
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


def test_csv_has_numbers_in_full_and_nothing_for_none():
    rows = [["a,b", 1 / 3, 1], ['say "x"', 1e-9, None]]
    assert csv_table(COLUMNS, rows).splitlines() == [
        "method,accuracy %,seeds",
        f'"a,b",{1 / 3!r},1',
        '"say ""x""",1e-09,',
    ]


@hypothesis.given(st.lists(st.tuples(TEXTS, st.floats(allow_nan=False)), max_size=4), TEXTS)
def test_csv_is_read_back_as_it_was(rows, column):
    found = read_csv(csv_table([column, "number"], rows))
    assert found[0] == [column, "number"]
    assert [(text, float(number)) for text, number in found[1:]] == rows


def test_latex_of_a_small_table():
    assert latex_table(COLUMNS, ROWS).splitlines() == [
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"method & accuracy \% & seeds \\",
        r"\midrule",
        r"zero-shot & 41.23 & 1 \\",
        r"DPL {[}bold]\textbar{} & 90.00 & 3 \\",
        r"none & -- & 0 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


# What a LaTeX run would typeset for each command that the tables use.
TYPESET = {
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\textless{}": "<",
    r"\textgreater{}": ">",
    r"\textbar{}": "|",
    r"$\pm$": "±",
    "{[}": "[",
    "{*}": "*",
} | {f"\\{character}": character for character in "&%$#_{}"}
TOKEN = re.compile("|".join(map(re.escape, TYPESET)) + "|.", re.DOTALL)


@hypothesis.given(st.text(st.sampled_from("ab&%$#_{}\\~^<>|[]*± "), max_size=12))
@hypothesis.example("*[1cm]")
def test_latex_typesets_what_the_cell_says(text):
    line = latex_table(["name", "other"], [[text, "x"]]).splitlines()[4]
    assert line.endswith(r" & x \\")
    tokens = TOKEN.findall(line.removesuffix(r" & x \\"))
    assert "".join(TYPESET.get(token, token) for token in tokens) == text
    assert not set(tokens) & set("&%$#_{}\\~^<>|[*")
