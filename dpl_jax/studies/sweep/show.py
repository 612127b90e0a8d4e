"""How far a sweep is: a table that changes on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import collections
import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dpl_jax.files.printable import printable
from dpl_jax.studies.sweep.watch import STATES, Entry, Show


@contextlib.contextmanager
def shown(
    entries: Sequence[Entry], mode: str = "auto", file: TextIO | None = None
) -> Iterator[Show]:
    """What :func:`dpl_jax.studies.sweep.watch.watch` tells of every change.

    Args:
      entries: all cells.
      mode: "auto", "plain" for lines on a terminal too, or "off".
      file: where to write; stderr unless told.
    """
    file = file or sys.stderr
    if mode == "off":
        yield lambda entry: None
    elif mode == "plain" or not file.isatty():
        yield lambda entry: print(f"{change(entry)}  ({summary(entries)})", file=file, flush=True)
    else:
        console = Console(file=file)
        with Live(console=console, get_renderable=lambda: _table(entries)):
            yield lambda entry: console.print(Text(change(entry)))


def summary(entries: Sequence[Entry]) -> str:
    """``0 failed, 3 finished, 1 running, 8 waiting``."""
    return ", ".join(f"{count} {state}" for state, count in _counts(entries).items())


def change(entry: Entry) -> str:
    """What has happened to a cell, in one line."""
    if not entry.message or entry.state in ("finished", "running"):
        return f"{entry.cell.name}: {entry.state}"
    again = "" if entry.state == "failed" else ", tried again"
    last = printable(entry.message.strip().splitlines()[-1])
    return f"{entry.cell.name}: {'failed' if entry.failures else 'interrupted'}{again}: {last}"


def _counts(entries: Sequence[Entry]) -> dict[str, int]:
    found = collections.Counter(entry.state for entry in entries)
    return {state: found[state] for state in STATES}


def _table(entries: Sequence[Entry]) -> Table:
    table = Table("dataset", *STATES)
    for dataset in dict.fromkeys(entry.cell.dataset for entry in entries):
        found = _counts([entry for entry in entries if entry.cell.dataset == dataset])
        table.add_row(Text(dataset), *map(str, found.values()))
    table.add_section()
    table.add_row("all", *map(str, _counts(entries).values()))
    return table
