"""The command ``python -m dpl_jax.results``: its arguments, and how rows become a table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dpl_jax.errors import DplError
from dpl_jax.files.json import write_text
from dpl_jax.files.printable import LINES, never_fail_to_print, printable
from dpl_jax.studies.aggregate.rows import Row, aggregate
from dpl_jax.summary.intervals import MeanInterval
from dpl_jax.summary.names import METRICS
from dpl_jax.summary.table import (
    Cell,
    csv_table,
    escape_markdown,
    latex_table,
    markdown_table,
    text_table,
)

ABOUT = (
    "kind",
    "dataset",
    "classes",
    "shots",
    "CLIP",
    "template",
    "settings",
    "evaluated on",
    "images",
    "method",
)
HEADINGS = {"accuracy": "accuracy %", "macro_f1": "macro-F1 %", "calibration_error": "ECE %"}
FORMATS = ("text", "markdown", "csv", "latex")


def main(arguments: Sequence[str] | None = None) -> None:
    """Parses the arguments, and prints or writes the table."""
    never_fail_to_print()
    parser = argparse.ArgumentParser(
        prog="python -m dpl_jax.results",
        description="One table of the results of many runs: mean, standard deviation and half-width"
        " of the 95 % interval (Student's t) over the seeds, in percent.",
    )
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs, or with runs in them")
    parser.add_argument("--format", choices=FORMATS, default="text")
    parser.add_argument("--output", type=Path, help="a file to write, instead of printing")
    given = parser.parse_args(arguments)
    try:
        rows, left_out = aggregate(given.runs)
    except DplError as error:
        sys.exit(f"error: {printable(str(error), kept=LINES)}")
    for reason, runs in left_out.items():
        line = f"Left out, {reason}: {', '.join(map(str, runs))}"
        print(printable(line), file=sys.stderr)
    table = render(rows, given.format)
    if given.output is None:
        print(table, end="")
        return
    try:
        write_text(given.output, table)
    except OSError as error:
        sys.exit(f"error: {given.output} cannot be written ({error.strerror}).")


def render(rows: Sequence[Row], style: str) -> str:
    """The table of ``rows`` in one of :data:`FORMATS`, with a newline at its end.

    CSV has a column for everything. In the others, what all rows have in common stands in a line
    above the table.
    """
    if style == "csv":
        return _csv(rows)
    shown = [name for name in ABOUT if name == "method" or len({r.about[name] for r in rows}) > 1]
    common = {name: rows[0].about[name] for name in ABOUT if name not in shown}
    caption = "; ".join(f"{name} {value}" for name, value in common.items() if value != "")
    caption = printable(caption)  # a line break would end LaTeX's comment
    columns = [*shown, "seeds"]
    for metric in METRICS:
        columns += [HEADINGS[metric], "std", "± 95 %"]
    cells = [[*(row.about[name] for name in shown), *_numbers(row)] for row in rows]
    match style:
        case "markdown":
            return f"{escape_markdown(caption)}\n\n{markdown_table(columns, cells)}\n"
        case "latex":
            return f"% {caption}\n{latex_table(columns, cells)}\n"
        case _:
            return f"{caption}\n{text_table(columns, cells)}\n"


def _csv(rows: Sequence[Row]) -> str:
    columns = [name.replace(" ", "_").lower() for name in ABOUT] + ["seeds"]
    for metric in METRICS:
        columns += [f"{metric}_percent", f"{metric}_std", f"{metric}_half_width"]
    return csv_table(
        columns, [[*(row.about[name] for name in ABOUT), *_numbers(row)] for row in rows]
    )


def _numbers(row: Row) -> list[Cell]:
    """Seeds; mean, standard deviation and half-width of every metric."""
    cells: list[Cell] = [row.seeds]
    for metric in METRICS:
        found: MeanInterval | tuple[None, ...] = row.metrics[metric] or (None, None, None)
        cells += found
    return cells


if __name__ == "__main__":
    main()
