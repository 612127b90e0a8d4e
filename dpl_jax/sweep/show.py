"""How far a sweep is: a table that changes on a terminal, a line a change elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dpl_jax.sweep.watch import STATES, Entry, Show, counts


@contextlib.contextmanager
def shown(mode: str = "auto", file: TextIO | None = None) -> Iterator[Show]:
    """What :func:`dpl_jax.sweep.watch.watch` tells of its progress.

    Args:
      mode: "auto", "plain" for lines on a terminal too, or "off".
      file: where to write; stderr unless told.
    """
    file = file or sys.stderr
    if mode == "off":
        yield lambda entries, changed: None
    elif mode == "plain" or not file.isatty():
        yield lambda entries, changed: _line(entries, changed, file)
    else:
        with Live(console=Console(file=file), auto_refresh=False) as live:
            yield lambda entries, changed: _redraw(live, entries, changed)


def summary(entries: Sequence[Entry]) -> str:
    """``3 finished, 1 running, 0 failed, 8 waiting``."""
    found = counts(entries)
    return ", ".join(f"{found[state]} {state}" for state in reversed(STATES))


def change(entry: Entry) -> str:
    """What has happened to a cell, in one line."""
    if not entry.message or entry.state in ("finished", "running"):
        return f"{entry.cell.name}: {entry.state}"
    again = "" if entry.state == "failed" else ", tried again"
    last = entry.message.strip().splitlines()[-1]
    what = "failed" if entry.failures else "interrupted"
    return f"{entry.cell.name}: {what}{again}: {last}"


def _line(entries: Sequence[Entry], changed: Entry | None, file: TextIO) -> None:
    if changed is not None:
        print(f"{change(changed)}  ({summary(entries)})", file=file, flush=True)


def _redraw(live: Live, entries: Sequence[Entry], changed: Entry | None) -> None:
    if changed is not None and changed.message and changed.state in ("waiting", "failed"):
        live.console.print(Text(change(changed)))
    live.update(_table(entries), refresh=True)


def _table(entries: Sequence[Entry]) -> Table:
    table = Table("dataset", show_footer=True)
    table.columns[0].footer = "all"
    total = counts(entries)
    for state in STATES:
        table.add_column(state, justify="right", footer=str(total[state]))
    for dataset in dict.fromkeys(entry.cell.dataset for entry in entries):
        found = counts([entry for entry in entries if entry.cell.dataset == dataset])
        table.add_row(Text(dataset), *(str(found[state]) for state in STATES))
    return table
