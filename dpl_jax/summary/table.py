"""Result tables: for a terminal, for a log, and in Markdown, CSV and LaTeX.

Not by tabulate, which escapes nothing in Markdown and loses the spaces that a cell begins with.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dpl_jax.files.printable import printable

Cell = str | int | float | None

# What LaTeX would take for a command; [ and * are options of the line end when they follow one.
LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "[": "{[}",
        "*": "{*}",
        "±": r"$\pm$",
        "\n": " ",
    }
)
# What Markdown would take for a cell's end, a link, an image, code, emphasis, a formula, or an
# address to link to; underscores do nothing within a word.
MARKDOWN = re.compile(r"[\\|\[\]`*~$]|(?<![^\W_])_|_(?![^\W_])|(?<=:)//|(?<=www)\.", re.IGNORECASE)
HTML = str.maketrans({"<": "&lt;", ">": "&gt;", "&": "&amp;"})


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    file: TextIO | None = None,
) -> None:
    """Prints a table to stdout (or ``file``): drawn on a terminal, plain aligned text elsewhere.

    Floats show two decimals and None shows as "-"; give text for anything else.
    """
    file = file or sys.stdout
    if not file.isatty():
        print(f"{printable(title)}\n{text_table(columns, rows)}", file=file, flush=True)
        return
    table = Table(title=Text(printable(title)), title_justify="left")
    for column, right in zip(columns, _right_aligned(columns, rows), strict=True):
        table.add_column(Text(printable(column)), justify="right" if right else "left")
    for row in rows:
        table.add_row(*(Text(_text(cell)) for cell in row))
    Console(file=file).print(table)


def text_table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """The table as aligned text, without a newline at its end."""
    cells = [
        [printable(column) for column in columns],
        *([_text(cell) for cell in row] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = _right_aligned(columns, rows)
    lines = [_aligned(line, widths, right) for line in cells]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """The table in Markdown, without a newline at its end."""
    rule = ["---:" if right else "---" for right in _right_aligned(columns, rows)]
    body = [[escape_markdown(_text(cell)) for cell in row] for row in rows]
    lines = [[escape_markdown(column) for column in columns], rule, *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def csv_table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """The table as CSV (RFC 4180, so lines end in CR LF): numbers in full, None an empty field."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(columns)
    writer.writerows(rows)
    return file.getvalue()


def latex_table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """The table as a LaTeX ``tabular`` with the rules of booktabs, without a newline at its end."""
    layout = "".join("r" if right else "l" for right in _right_aligned(columns, rows))
    head, *body = (" & ".join(map(_latex, line)) + r" \\" for line in (columns, *rows))
    begin, end = rf"\begin{{tabular}}{{{layout}}}", r"\end{tabular}"
    return "\n".join([begin, r"\toprule", head, r"\midrule", *body, r"\bottomrule", end])


def _right_aligned(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> list[bool]:
    """Columns of numbers are aligned to the right, so that their digits stand below each other."""
    return [
        bool(rows)
        and all(row[index] is None or isinstance(row[index], int | float) for row in rows)
        for index in range(len(columns))
    ]


def _aligned(line: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    cells = zip(line, widths, right, strict=True)
    return "  ".join(text.rjust(width) if end else text.ljust(width) for text, width, end in cells)


def _text(cell: Cell) -> str:
    if cell is None:
        return "-"
    return f"{cell:.2f}" if isinstance(cell, float) else printable(" ".join(str(cell).splitlines()))


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is, on one line, within a sentence or a cell of a table."""
    line = printable(" ".join(text.splitlines()))
    return MARKDOWN.sub(lambda special: f"\\{special[0]}", line.translate(HTML))


def _latex(cell: Cell) -> str:
    return "--" if cell is None else _text(cell).translate(LATEX)
