"""Search, train and evaluate again and again in one process: does anything grow?

    python -m benchmarks.soak                # 20 minutes
    python -m benchmarks.soak --minutes=2

Every round is a whole job with its report, in a folder of its own that is removed afterwards. A
first part of the time is for warming up; behind it memory must be flat, and there must be no more
threads, open files, memory maps, temporary files and compiled programs than before. Linux only.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from benchmarks.report import machine
from configs import digits
from dpl_jax.studies.finished_stages import evaluate_once, search_once, train_once
from dpl_jax.summary.table import print_table

WARM_UP = 0.5  # of the time; the allocator's share settles in about ten minutes
# What may come on between the first and the last quarter behind the warm-up; else nothing.
# Orbax keeps some hundred small objects of every checkpoint that it reads.
ALLOWED = {"memory_mb": 16.0, "objects": 50_000.0, "maps": 100.0}
MB = 2**20
COMPILED = "/jax/core/compile/backend_compile_duration"


class Usage(NamedTuple):
    """What a process holds.

    Attributes:
      memory_mb: resident.
      objects: that Python's garbage collector tracks.
      arrays: of JAX that are alive.
      python_threads: that the interpreter knows.
      threads: of the operating system.
      files: open file descriptors.
      maps: areas of memory; Linux allows 65530.
      temporary: files and folders in the folder for temporary ones.
      programs: compiled since the start, or read from the cache of compiled programs.
    """

    memory_mb: float
    objects: int
    arrays: int
    python_threads: int
    threads: int
    files: int
    maps: int
    temporary: int
    programs: int


class Programs:
    """Counts the programs that JAX compiles or reads from its cache."""

    def __init__(self) -> None:
        """Starts at 0."""
        self.count = 0

    def __call__(self, event: str, duration_secs: float, **_: Any) -> None:
        """Listens to JAX's own events."""
        self.count += event == COMPILED


def main() -> None:
    """Runs the rounds, prints the table, and ends with exit code 1 if something grew."""
    minutes = _arguments().minutes
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        tempfile.tempdir = folder  # so that only what this process leaves there is counted
        warm, rest = split(list(rounds(minutes, Path(folder))))
    print_table(
        f"{len(warm) + len(rest)} rounds in {minutes:g} minutes, {len(warm)} of them to warm up",
        ("what", "before", "after", "verdict"),
        table(rest),
    )
    sys.exit(1 if grown(rest) else 0)


def rounds(minutes: float, folder: Path) -> Iterator[tuple[float, Usage]]:
    """Yields the part of the time that is over, and what is held, after every round."""
    programs, config = Programs(), small_config()
    jax.monitoring.register_event_duration_secs_listener(programs)
    start, number, over = time.monotonic(), 0, 0.0
    while over < 1:
        number += 1
        with tempfile.TemporaryDirectory(prefix="round-", dir=folder) as runs:
            searched = search_once(config, Path(runs) / "search")
            trained = train_once(config, searched, Path(runs) / "train")
            accuracy = evaluate_once(trained)["dpl"]["accuracy"]
        held = usage(programs.count, folder)
        over = (time.monotonic() - start) / (60 * minutes)
        print(f"{number} ({over:.0%}): accuracy {accuracy:.4f}, {held}", flush=True)
        yield over, held


def small_config() -> ConfigDict:
    """A short job on the digits; all rounds have the same seed, and so the same programs."""
    config = digits.get_config("shots=2,T=3")
    config.search.epochs = config.train.epochs = 2
    config.checkpoint.every_epochs = 1
    config.progress = "off"
    return config


def usage(programs: int, folder: Path) -> Usage:
    """What this process holds now."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Usage(
        memory_mb=pages * os.sysconf("SC_PAGE_SIZE") / MB,
        objects=len(gc.get_objects()),
        arrays=len(jax.live_arrays()),
        python_threads=threading.active_count(),
        threads=len(os.listdir("/proc/self/task")),
        files=len(os.listdir("/proc/self/fd")),
        maps=Path("/proc/self/maps").read_text().count("\n"),
        temporary=len(os.listdir(folder)),
        programs=programs,
    )


def split(seen: list[tuple[float, Usage]]) -> tuple[list[Usage], list[Usage]]:
    """The rounds of the warm-up, and those behind it."""
    warm = [held for over, held in seen if over <= WARM_UP]
    return warm, [held for over, held in seen if over > WARM_UP]


def quarters(rest: list[Usage]) -> tuple[list[float], list[float]]:
    """Medians of every quantity over the first and the last quarter of the rounds."""
    size = max(len(rest) // 4, 1)
    first, last = (
        [statistics.median(column) for column in zip(*part, strict=True)]
        for part in (rest[:size], rest[-size:])
    )
    return first, last


def grown(rest: list[Usage]) -> list[str]:
    """Names of what the last quarter of the rounds holds more of than the first."""
    return [
        name
        for name, before, after in zip(Usage._fields, *quarters(rest), strict=True)
        if after - before > ALLOWED.get(name, 0)
    ]


def table(rest: list[Usage]) -> list[tuple[str, str, str, str]]:
    """Rows: a quantity, its medians in the first and last quarter, and whether it grew."""
    leaked = grown(rest)
    return [
        (name, f"{before:g}", f"{after:g}", "GREW" if name in leaked else "flat")
        for name, before, after in zip(Usage._fields, *quarters(rest), strict=True)
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.soak")
    parser.add_argument("--minutes", type=float, default=20.0, help="how long; default: 20")
    arguments = parser.parse_args()
    if not arguments.minutes > 0:
        parser.error("--minutes must be above 0")
    return arguments


if __name__ == "__main__":
    main()
