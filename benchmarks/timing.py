"""Wall time of callables that take turns, so that other work on the machine disturbs all alike."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Run = Callable[[], Any]
# Rounds at most as long as this in all, whatever number of them is asked for.
SECONDS_FOR_ROUNDS = 90.0
# Calls quicker than this (compilation included) are made twice and timed the second time: memory
# that a larger program has just given back costs the next one page faults.
WARMED_SECONDS = 30.0


class Timing(NamedTuple):
    """Seconds that each round took; the rounds of all callables were interleaved."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median seconds of one call."""
        return statistics.median(self.seconds)


def interleaved(runs: Mapping[str, Run], rounds: int) -> dict[str, Timing]:
    """Calls each of ``runs`` once to warm up (and compile), then all in turn, ``rounds`` times.

    Args:
      runs: by name; each is called without arguments, and its result awaited.
      rounds: at least 1; fewer are made when a round takes long.
    """
    quick = set()
    for name, run in runs.items():
        first = seconds(run)
        _tell(name, "compiled and run in", first)
        if first < WARMED_SECONDS:
            quick.add(name)
    taken: dict[str, list[float]] = {name: [] for name in runs}
    started = time.perf_counter()
    for _ in range(rounds):
        for name, run in runs.items():
            if name in quick:
                jax.block_until_ready(run())
            taken[name].append(seconds(run))
            _tell(name, "took", taken[name][-1])
        if time.perf_counter() - started > SECONDS_FOR_ROUNDS:
            break
    return {name: Timing(tuple(values)) for name, values in taken.items()}


def seconds(run: Run) -> float:
    """Wall time of one call, until its result is there."""
    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start


def _tell(name: str, what: str, taken: float) -> None:
    """One line of progress, beside the tables."""
    print(f"  {name} {what} {taken:.3g} s", file=sys.stderr, flush=True)


def ratio(slow: Timing, fast: Timing) -> float:
    """Median of the rounds' own ratios: a round's two calls saw the same machine."""
    pairs = zip(slow.seconds, fast.seconds, strict=True)
    return statistics.median(a / b for a, b in pairs)


def matmul_rate(dtype: str, side: int) -> float:
    """Best FLOP/s that the device reaches in multiplying two square matrices."""
    keys = jax.random.split(jax.random.key(0))
    left, right = (jax.random.normal(key, (side, side), dtype) for key in keys)
    multiply = jax.jit(jnp.matmul)
    seconds(lambda: multiply(left, right))
    best = min(seconds(lambda: multiply(left, right)) for _ in range(10))
    return 2 * side**3 / best
