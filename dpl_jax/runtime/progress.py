"""Progress of a run on stderr: a bar on a terminal, plain lines elsewhere.

Not by tqdm, whose monitor thread outlives the bar and which writes no plain lines elsewhere.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dpl_jax.runtime.times import duration

Field = float | int | str

# Without a terminal a line is due after this share of the work, or this many seconds.
LINE_SHARE = 0.05
LINE_SECONDS = 30.0


class Reporter(Protocol):
    """Shows how far a run is."""

    def update(self, completed: int, **fields: Field) -> None:
        """Reports ``completed`` of the total, with numbers such as ``loss=0.31``."""


@contextlib.contextmanager
def progress(
    total: int,
    description: str,
    mode: str = "auto",
    *,
    start: int = 0,
    file: TextIO | None = None,
) -> Iterator[Reporter]:
    """Shows progress while the block runs; ends cleanly on any exception.

    Args:
      total: how many steps (or epochs) the run has.
      description: what is being done, such as "search".
      mode: "auto" for a bar on a terminal and lines elsewhere, "plain" for lines, or "off".
      start: how many steps were done before, in a resumed run.
      file: where to write; stderr unless told.
    """
    file = file or sys.stderr
    if mode == "off":
        yield _Silence()
    elif mode == "auto" and file.isatty():
        with _bar(total, description, start, file) as bar:
            yield bar
    else:
        lines = _Lines(total, description, start, file)
        try:
            yield lines
        finally:
            lines.finish()


class _Silence:
    def update(self, completed: int, **fields: Field) -> None:
        """Reports nothing."""


class _Bar:
    def __init__(self, bars: Progress, total: int, description: str, start: int) -> None:
        self._bars = bars
        self._task = bars.add_task(description, total=total, completed=start, fields="")

    def update(self, completed: int, **fields: Field) -> None:
        self._bars.update(self._task, completed=completed, fields=_join(fields))


@contextlib.contextmanager
def _bar(total: int, description: str, start: int, file: TextIO) -> Iterator[_Bar]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[fields]}", markup=False),
    )
    with Progress(*columns, console=Console(file=file, force_terminal=True)) as bars:
        yield _Bar(bars, total, description, start)


class _Lines:
    """One line at intervals, and always the last."""

    def __init__(
        self,
        total: int,
        description: str,
        start: int,
        file: TextIO,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total, self._description, self._file, self._clock = total, description, file, clock
        self._shown, self._shown_at = start, clock()
        self._first: tuple[int, float] | None = None
        self._last: tuple[int, dict[str, Field]] | None = None

    def update(self, completed: int, **fields: Field) -> None:
        self._last = (completed, fields)
        # Compiling makes the first update late, so the rest is timed from there.
        self._first = self._first or (completed, self._clock())
        share = (completed - self._shown) / max(self._total, 1)
        late = self._clock() - self._shown_at >= LINE_SECONDS
        if share >= LINE_SHARE or late or completed >= self._total:
            self._show()

    def finish(self) -> None:
        if self._last is not None:
            self._show()

    def _show(self) -> None:
        assert self._last is not None
        (completed, fields), self._last = self._last, None
        self._shown, self._shown_at = completed, self._clock()
        parts = [f"{self._description} {completed}/{self._total}", _join(fields), self._eta()]
        print("  ".join(part for part in parts if part), file=self._file, flush=True)

    def _eta(self) -> str:
        assert self._first is not None
        first, began = self._first
        done, left = self._shown - first, self._total - self._shown
        if done <= 0 or left <= 0:
            return ""
        return f"ETA {duration((self._shown_at - began) / done * left)}"


def _join(fields: dict[str, Field]) -> str:
    return "  ".join(
        f"{name.replace('_', ' ')} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in fields.items()
    )
