"""What runs the jobs of a sweep: arrays of a Slurm cluster, or processes of this machine."""

from __future__ import annotations

import functools
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dpl_jax.errors import ConfigError
from dpl_jax.json_files import write_text
from dpl_jax.printable import printable
from dpl_jax.sweep.grid import Cell
from dpl_jax.sweep.plan import PREFIX, read_plan
from dpl_jax.sweep.watch import Scheduler

GRACE = 120  # seconds between SIGTERM and the end of a job's time
TRIES = 6  # of a command of Slurm
WAIT = 2.0  # seconds before the second try; twice as long before every further one
REFUSED = re.compile(r"invalid|unrecognized|unknown option|not permitted", re.IGNORECASE)
ARRAY_SIZE = 1001  # Slurm's default for MaxArraySize
# What a job that has left the queue may still be listed with.
ENDED = "BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY REVOKED TIMEOUT"
QUEUED = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT")
OWN_OPTIONS = ("array", "job-name", "output", "open-mode", "requeue")


class Options(NamedTuple):
    """Where and how jobs run.

    Attributes:
      executor: "local" or "slurm".
      parallel: at most so many jobs at a time.
      minutes: that a job may take before it goes back to the queue, of Slurm alone.
      gpus: of each job.
      cpus: cores of each job, of Slurm alone; 0 for its default.
      partition: of Slurm; "" for its default.
      slurm: more of its parameters, as of ``sbatch``: {"account": "vision"}.
    """

    executor: str = "local"
    parallel: int = 1
    minutes: int = 0
    gpus: int = 1
    cpus: int = 0
    partition: str = ""
    slurm: Mapping[str, str] = {}


WritePlan = Callable[[Sequence[Cell]], Path]


def make_scheduler(options: Options, jobs: Path, write: WritePlan) -> Scheduler:
    """What runs the jobs.

    Args:
      options: where and how.
      jobs: folder of plans and logs.
      write: puts cells into a plan, see :func:`dpl_jax.sweep.plan.write_plan`.

    Raises:
      ConfigError: there is no Slurm that answers.
    """
    return (
        Local(options, jobs, write) if options.executor == "local" else Slurm(options, jobs, write)
    )


def check_options(options: Options) -> None:
    """Raises ConfigError for an option that cannot be, or where Slurm's commands are missing."""
    if options.executor not in ("local", "slurm"):
        raise ConfigError(f'--executor is {options.executor!r}; it must be "local" or "slurm".')
    if min(options.parallel, options.gpus + 1, options.minutes + 1, options.cpus + 1) < 1:
        raise ConfigError("--parallel must be at least 1; --minutes, --gpus and --cpus at least 0.")
    if options.executor == "local":
        return
    if not options.minutes:
        raise ConfigError("--minutes is needed with --executor=slurm: how long a job may take.")
    for name, value in options.slurm.items():
        if name in OWN_OPTIONS or not re.fullmatch("[a-z][a-z-]*", name) or "\n" in value:
            raise ConfigError(
                f"--slurm={name}={value!r} cannot be given: the sweep sets it, or "
                "it is not a long option of sbatch."
            )
    missing = [name for name in ("sbatch", "squeue") if shutil.which(name) is None]
    if missing:
        raise ConfigError(
            "--executor=slurm needs Slurm's sbatch and squeue on this machine; "
            f"{' and '.join(missing)} cannot be found. --executor=local runs the jobs here."
        )


class Local:
    """Child processes; those that an earlier sweep left are waited for, never signalled."""

    def __init__(self, options: Options, jobs: Path, write: WritePlan) -> None:
        """No child yet."""
        self._options, self._jobs, self._write = options, jobs, write
        self._children: dict[str, tuple[subprocess.Popen[bytes], str]] = {}

    def alive(self) -> Mapping[str, str]:
        """The cells of the children that have not ended."""
        self._children = {
            name: child for name, child in self._children.items() if child[0].poll() is None
        }
        return dict.fromkeys(self._children, "running")

    def submit(self, cells: Sequence[Cell], free: int, taken: Sequence[str]) -> int:
        """Starts ``free`` children."""
        starting = cells[:free]
        plan = self._write(starting)
        for index, cell in enumerate(starting):
            gpus = self._free_gpus(taken)
            with open(self._jobs / f"{cell.name.replace('/', '-')}.log", "ab") as log:
                child = subprocess.Popen(
                    [*_command(plan), str(index)],
                    env=os.environ | {"CUDA_VISIBLE_DEVICES": gpus},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C is the sweep's, which tells its children
                )
            self._children[cell.name] = child, gpus
        return len(starting)

    def stop(self) -> None:
        """Sends SIGTERM to the children, and waits until they have saved their state."""
        for child, _ in self._children.values():
            child.terminate()  # nothing, for one that has ended
        for child, _ in self._children.values():
            child.wait()

    def _free_gpus(self, taken: Sequence[str]) -> str:
        """The first share of the machine's GPUs that no job has."""
        shares = [*taken, *(gpus for _, gpus in self._children.values())]
        used = {gpu for gpus in shares for gpu in gpus.split(",")}
        size = self._options.gpus
        for first in range(0, (len(shares) + 1) * size, max(size, 1)):
            share = [str(first + number) for number in range(size)]
            if used.isdisjoint(share):
                return ",".join(share)
        return ""  # no GPU is asked for


class Slurm:
    """Arrays of jobs, which go on whatever becomes of this process; ``sacct`` is not needed."""

    def __init__(self, options: Options, jobs: Path, write: WritePlan) -> None:
        """Of jobs there may be some already, of earlier sweeps in the same folder."""
        self._options, self._jobs, self._write = options, jobs, write
        command = ["scontrol", "show", "config"]
        known = shutil.which(command[0]) is not None
        config = subprocess.run(command, capture_output=True, text=True).stdout if known else ""
        found = re.search(r"MaxArraySize\s*=\s*(\d+)", config)
        self._array_size = int(found[1]) if found else ARRAY_SIZE
        self._plan = functools.cache(read_plan)

    def alive(self) -> Mapping[str, str]:
        """The cells with a task in the queue, by the names of jobs; one call for all of them."""
        command = ["squeue", f"--user={os.getuid()}", "--array", "--noheader", "--format=%i|%T|%j"]
        found: dict[str, str] = {}
        for line in _ask(command).splitlines():
            task, state, name = (*line.strip().split("|"), "", "")[:3]
            index, path = task.rpartition("_")[2], self._jobs / f"{name}.json"
            if name.startswith(PREFIX) and index.isdigit() and path.is_file():
                cells = self._plan(path).cells
                if state not in ENDED.split() and int(index) < len(cells):
                    found[cells[int(index)].name] = "waiting" if state in QUEUED else "running"
        return found

    def submit(self, cells: Sequence[Cell], free: int, taken: Sequence[str]) -> int:
        """One array of as many tasks as Slurm allows, ``free`` of them at a time."""
        cells = cells[: self._array_size]
        plan = self._write(cells)
        script = plan.with_suffix(".sh")
        write_text(script, _script(self._options, plan, len(cells), free))

        def arrived() -> bool:  # though sbatch has failed, when it was its answer that was lost
            return not self.alive().keys().isdisjoint(cell.name for cell in cells)

        _ask(["sbatch", str(script)], arrived)
        return len(cells)

    def stop(self) -> None:
        """Jobs in the queue are not this process's own."""


def _script(options: Options, plan: Path, tasks: int, parallel: int) -> str:
    """What sbatch gets."""
    given: dict[str, object] = {
        "job-name": plan.stem,
        "array": f"0-{tasks - 1}%{parallel}",
        "output": plan.with_name(f"{plan.stem}-%a.log"),
        "open-mode": "append",
        "requeue": "",
        "signal": f"B:TERM@{GRACE}",
        "time": options.minutes,
        "gpus-per-node": options.gpus or None,
        "cpus-per-task": options.cpus or None,
        "partition": options.partition or None,
        **options.slurm,
    }
    lines = [
        f"#SBATCH --{name}" + (f"={shlex.quote(str(value))}" if value != "" else "")
        for name, value in given.items()
        if value is not None
    ]
    run = f'exec {shlex.join(_command(plan))} "$SLURM_ARRAY_TASK_ID" requeue'
    return "\n".join(["#!/bin/bash", *lines, run, ""])


def _command(plan: Path) -> list[str]:
    return [sys.executable, "-m", "dpl_jax.sweep.cell", str(plan)]


def _ask(command: Sequence[str], arrived: Callable[[], bool] = lambda: False) -> str:
    """What a command of Slurm answers; one that fails is tried again, for two minutes at most.

    Raises:
      ConfigError: when it is refused, or fails every time.
    """
    for wait in (*(WAIT * 2**number for number in range(TRIES - 1)), None):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout
        if wait is None or REFUSED.search(done.stderr):
            break
        time.sleep(wait)
        if arrived():
            return done.stdout
    said = printable(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no word")
    refused = "Slurm refused the jobs" if command[0] == "sbatch" else "Slurm does not answer"
    raise ConfigError(
        f"{refused}: {command[0]} ended with exit code {done.returncode} ({said}). Jobs that are "
        "in the queue go on; the same command sees to the rest."
    )
