"""What runs the jobs of a sweep: arrays of a Slurm cluster, or processes of this machine."""

from __future__ import annotations

import functools
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

from dpl_jax.errors import ConfigError
from dpl_jax.files.json import write_text
from dpl_jax.files.printable import printable
from dpl_jax.runs.lock import in_use, lock_folder
from dpl_jax.studies.sweep.grid import Cell
from dpl_jax.studies.sweep.plan import PREFIX, Plan, make_jobs_folder, read_plan, write_plan

GRACE = 120  # seconds between SIGTERM and the end of a job's time
TRIES = 6  # of a command of Slurm
WAIT = 1.0  # seconds, doubled before each of the further ones
REFUSED = re.compile(r"invalid|unrecognized|unknown option|not permitted", re.IGNORECASE)
TASK = re.compile(rf"^\s*\d+_(\d+)\|(\w+)\|({PREFIX}\w+)\s*$", re.MULTILINE)  # of squeue
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

    seconds = 0.5  # between two looks at the jobs

    def __init__(self, options: Options, plan: Plan) -> None:
        """No child yet."""
        self.options, self._plan, self._jobs = options, plan, make_jobs_folder(plan.workdir)
        self._children: dict[int, tuple[str, subprocess.Popen[bytes]]] = {}  # by share of the GPUs

    def alive(self) -> Mapping[str, str]:
        """The cells of the children that have not ended."""
        ended = [share for share, (_, child) in self._children.items() if child.poll() is not None]
        for share in ended:
            del self._children[share]
        return {name: "running" for name, _ in self._children.values()}

    def submit(self, cells: Sequence[Cell], free: int) -> int:
        """Starts ``free`` children, each with GPUs of its own."""
        starting = cells[:free]
        path = write_plan(self._plan, starting)
        for index, cell in enumerate(starting):
            share, lock = self._free_share()
            gpus = range(share * self.options.gpus, (share + 1) * self.options.gpus)
            log = self._jobs / f"{cell.name.replace('/', '-')}.log"
            with lock, open(log, "ab") as output:
                child = subprocess.Popen(
                    [*_command(path), str(index)],
                    env=os.environ | {"CUDA_VISIBLE_DEVICES": ",".join(map(str, gpus))},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=[lock.fileno()],
                    start_new_session=True,  # Ctrl-C is the sweep's, which tells its children
                )
            self._children[share] = cell.name, child
        return len(starting)

    def stop(self) -> None:
        """Sends SIGTERM to the children, and waits until they have saved their state."""
        for _, child in self._children.values():
            child.terminate()  # nothing, for one that has ended
        for _, child in self._children.values():
            child.wait()

    def _free_share(self) -> tuple[int, TextIO]:
        """The first share of the GPUs that no job has, and its lock, which dies with the job."""
        for share in itertools.count():
            folder = self._jobs / f"gpus-{share}"
            if share not in self._children and not in_use(folder):
                break
        folder.mkdir(exist_ok=True)
        return share, lock_folder(folder)


class Slurm:
    """Arrays of jobs, which go on whatever becomes of this process; ``sacct`` is not needed."""

    seconds = 5.0

    def __init__(self, options: Options, plan: Plan) -> None:
        """Of jobs there may be some already, of earlier sweeps in the same folder."""
        self.options, self._plan, self._jobs = options, plan, make_jobs_folder(plan.workdir)
        self._read = functools.cache(read_plan)

    def alive(self) -> Mapping[str, str]:
        """The cells with a task in the queue, by the names of jobs; one call for all of them."""
        command = ["squeue", f"--user={os.getuid()}", "--array", "--noheader", "--format=%i|%T|%j"]
        found: dict[str, str] = {}
        for index, state, name in TASK.findall(_ask(command)):
            path = self._jobs / f"{name}.json"
            if state not in ENDED.split() and path.is_file():
                cell = self._read(path).cells[int(index)]
                found[cell.name] = "waiting" if state in QUEUED else "running"
        return found

    def submit(self, cells: Sequence[Cell], free: int) -> int:
        """One array of as many tasks as Slurm allows, ``free`` of them at a time."""
        cells = cells[: _array_size()]
        path = write_plan(self._plan, cells)
        script = path.with_suffix(".sh")
        write_text(script, _script(self.options, path, len(cells), free))

        def arrived() -> bool:  # though sbatch has failed, when it was its answer that was lost
            return not self.alive().keys().isdisjoint(cell.name for cell in cells)

        _ask(["sbatch", str(script)], arrived)
        return len(cells)

    def stop(self) -> None:
        """Jobs in the queue are not this process's own."""


Scheduler = Local | Slurm
EXECUTORS: Mapping[str, type[Scheduler]] = {"local": Local, "slurm": Slurm}


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
    return [sys.executable, "-m", "dpl_jax.studies.sweep.cell", str(plan)]


def _array_size() -> int:
    """Slurm's MaxArraySize."""
    known = shutil.which("scontrol") is not None
    command = ["scontrol", "show", "config"]
    config = subprocess.run(command, capture_output=True, text=True).stdout if known else ""
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", config)
    return int(found[1]) if found else ARRAY_SIZE


def _ask(command: Sequence[str], arrived: Callable[[], bool] = lambda: False) -> str:
    """What a command of Slurm answers; one that fails is tried again, for a minute.

    Raises:
      ConfigError: when it is refused, or fails every time.
    """
    for number in range(TRIES):
        if number:
            time.sleep(WAIT * 2**number)
            if arrived():
                return ""
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout
        if REFUSED.search(done.stderr):
            break
    said = printable((done.stderr.strip() or "no word").splitlines()[-1])
    refused = "Slurm refused the jobs" if command[0] == "sbatch" else "Slurm does not answer"
    raise ConfigError(
        f"{refused}: {command[0]} ended with exit code {done.returncode} ({said}). Jobs that are "
        "in the queue go on; the same command sees to the rest."
    )
