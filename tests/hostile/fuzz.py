"""Feeds mutated files to every parser: each has to end in a value or in our own error.

    python -m tests.hostile.fuzz --inputs=100000 [--seed=1] [--target=NAME]

prints the inputs of each target, and keeps those that ended otherwise in ``fuzz-findings/``.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import logging
import random
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

from dpl_jax.errors import DplError
from tests.hostile.mutate import mutated
from tests.hostile.target import Target
from tests.hostile.targets import all_targets

SECONDS = 20  # after which an input counts as one that hangs
FINDINGS = Path("fuzz-findings")


class HangsError(BaseException):
    """An input that takes too long; no parser may catch it."""


def try_input(target: Target, contents: bytes) -> str:
    """What the parser made of it: "" for a value, else the name of our error.

    Raises:
      Exception: whatever else the parser raised.
    """
    try:
        target.parse(contents)
    except DplError as error:
        str(error).encode("utf-8", "surrogatepass")
        return type(error).__name__
    except target.also as error:
        return type(error).__name__
    return ""


def fuzz(target: Target, inputs: int, seed: int, findings: Path | None = None) -> dict[str, int]:
    """Counts of what ``inputs`` mutated files ended in.

    Raises:
      AssertionError: at the first that ended badly, without a folder for findings.
    """
    stream = random.Random(f"{seed}/{target.name}")
    counts: collections.Counter[str] = collections.Counter()
    for _ in range(inputs):
        contents = mutated(stream.choice(target.seeds), stream, target.is_json)
        signal.alarm(SECONDS)
        try:
            counts[try_input(target, contents) or "value"] += 1
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            if findings is None:
                raise AssertionError(
                    f"{target.name}: {error!r:.200} for {contents!r:.500}"
                ) from error
            counts[f"! {type(error).__name__}"] += 1
            _keep(findings, target, contents)
        finally:
            signal.alarm(0)
    return dict(counts)


def _keep(findings: Path, target: Target, contents: bytes) -> None:
    """One input for each place in the code that it went wrong at."""
    text = traceback.format_exc()
    last = [line for line in text.splitlines() if line.startswith("  File")][-1]
    name = f"{target.name}-{hashlib.sha256(last.encode()).hexdigest()[:8]}"
    findings.mkdir(exist_ok=True)
    if not (findings / name).exists():
        (findings / name).write_bytes(contents)
        (findings / f"{name}.txt").write_text(text, errors="backslashreplace")


def _hang(*_: object) -> None:
    raise HangsError


def main() -> None:
    """Fuzzes the targets that the command line names."""
    parser = argparse.ArgumentParser("python -m tests.hostile.fuzz")
    parser.add_argument("--inputs", type=int, default=100_000, help="over all targets")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", help="names, with commas between them; default: all")
    given = parser.parse_args()
    signal.signal(signal.SIGALRM, _hang)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as scratch:
        targets = [
            t
            for t in all_targets(Path(scratch))
            if not given.target or t.name in given.target.split(",")
        ]
        total = sum(target.share for target in targets)
        for target in targets:
            inputs = -(-given.inputs * target.share // total)
            counts = fuzz(target, inputs, given.seed, FINDINGS)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
            print(f"{target.name:20} {inputs:7}  peak {peak} MB  {counts}", flush=True)
    sys.exit(1 if FINDINGS.exists() else 0)


if __name__ == "__main__":
    main()
