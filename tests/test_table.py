import io

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
