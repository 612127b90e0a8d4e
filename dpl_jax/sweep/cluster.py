"""Jobs by submitit: on a Slurm cluster, or as processes of this machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dpl_jax.errors import ConfigError
from dpl_jax.folder_lock import in_use
from dpl_jax.sweep.cell import CellJob, Outcome

YEAR = 365 * 24 * 60  # minutes; submitit's local executor has to have some limit
GRACE = 120  # seconds between SIGUSR2 and the end of a job's time
REQUEUES = 1000  # a job that goes on from its checkpoint may run out of time often
ALIVE = ("PENDING", "RUNNING", "REQUEUED", "REQUEUE_HOLD", "COMPLETING", "PREEMPTED", "SUSPENDED")


class Options(NamedTuple):
    """Where and how jobs run.

    Attributes:
      executor: "local" or "slurm".
      parallel: at most so many jobs at a time.
      minutes: that a job may take before it goes back to the queue; 0 for no limit, on this
        machine alone.
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


class Running(NamedTuple):
    """A job that was submitted, by this process or an earlier one.

    Attributes:
      id: of the scheduler, or of the process.
      done: whether it has ended.
      queued: whether it has not begun.
      outcome: how it ended, once it has.
      stop: asks it to end, where that is this process's to do, and tells whether it was asked.
    """

    id: str
    done: Callable[[], bool]
    queued: Callable[[], bool]
    outcome: Callable[[], Outcome]
    stop: Callable[[], bool]


def make_executor(options: Options, folder: Path) -> Any:
    """Submitit's executor, with its files in ``folder``.

    Raises:
      ConfigError: submitit is not installed, there is no Slurm, or an option is no option.
    """
    try:
        import submitit
    except ImportError as error:
        raise ConfigError(
            'Sweeps need submitit, which is not installed: pip install "dpl_jax[sweep]"'
        ) from error
    if options.executor not in ("local", "slurm"):
        raise ConfigError(f'--executor is {options.executor!r}; it must be "local" or "slurm".')
    if min(options.parallel, options.gpus + 1, options.minutes + 1, options.cpus + 1) < 1:
        raise ConfigError("--parallel must be at least 1; --minutes, --gpus and --cpus at least 0.")
    if options.executor == "local":
        local = submitit.LocalExecutor(folder, max_num_timeout=REQUEUES)
        local.update_parameters(timeout_min=options.minutes or YEAR, signal_delay_s=GRACE)
        return local
    if not options.minutes:
        raise ConfigError("--minutes is needed with --executor=slurm: how long a job may take.")
    try:
        slurm = submitit.SlurmExecutor(folder, max_num_timeout=REQUEUES)
        slurm.update_parameters(**_slurm_parameters(options))
    except RuntimeError as error:
        raise ConfigError(
            f"--executor=slurm needs the commands of Slurm on this machine ({error}). "
            "--executor=local runs the jobs here."
        ) from error
    return slurm


def submit(
    executor: Any, options: Options, jobs: Sequence[CellJob], slots: Sequence[int]
) -> list[Running]:
    """Starts jobs; on Slurm, several are one array.

    Args:
      executor: of :func:`make_executor`.
      options: the same.
      jobs: what to run.
      slots: of each job, which share of this machine's GPUs it gets: 0, 1, ..

    Raises:
      ConfigError: when Slurm refuses them.
    """
    if options.executor == "local":
        return [_start(executor, options, job, slot) for job, slot in zip(jobs, slots, strict=True)]
    try:
        submitted = executor.submit_array(list(jobs))
    except (RuntimeError, subprocess.CalledProcessError) as error:
        raise ConfigError(f"Slurm refused the jobs: {_last_line(str(error))}") from error
    return [_on_slurm(job) for job in submitted]


def adopt(options: Options, folder: Path, job_id: str, cell: Path) -> Running | None:
    """A job that an earlier process submitted, if it is still there.

    Args:
      options: as it was submitted with.
      folder: of the executor.
      job_id: of the job.
      cell: the folder that it works in.
    """
    import submitit

    if options.executor == "local":
        return _orphan(submitit.LocalJob(folder, job_id), cell) if in_use(cell) else None
    job: Any = submitit.SlurmJob(folder, job_id)
    return _on_slurm(job) if job.state.upper().split(" ")[0] in ALIVE else None


def _slurm_parameters(options: Options) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "job_name": "dpl-sweep",
        "time": options.minutes,
        "signal_delay_s": GRACE,
        "array_parallelism": options.parallel,
        "additional_parameters": {"requeue": True, **options.slurm},
    }
    if options.gpus:
        parameters["gpus_per_node"] = options.gpus
    if options.cpus:
        parameters["cpus_per_task"] = options.cpus
    if options.partition:
        parameters["partition"] = options.partition
    return parameters


def _start(executor: Any, options: Options, job: CellJob, slot: int) -> Running:
    first = slot * options.gpus
    gpus = {"gpus_per_node": options.gpus, "visible_gpus": (*range(first, first + options.gpus),)}
    executor.update_parameters(**gpus)
    with _ctrl_c_ignored():
        started = executor.submit(job)
    return Running(
        id=started.job_id,
        done=started.done,
        queued=lambda: False,
        outcome=lambda: _local_outcome(started),
        # The process passes it on to the job.
        stop=lambda: _terminate(int(started.job_id)),
    )


def _orphan(job: Any, cell: Path) -> Running:
    """A process that is no child of this one: the lock on its folder tells that it lives."""

    def stop() -> bool:
        try:
            return _terminate(json.loads((cell / "lock").read_text(encoding="utf-8"))["pid"])
        except (ValueError, KeyError, OSError):  # the lock is changing hands
            return False

    return Running(
        id=job.job_id,
        done=lambda: job.paths.result_pickle.exists() or not in_use(cell),
        queued=lambda: False,
        outcome=lambda: _local_outcome(job),
        stop=stop,
    )


def _on_slurm(job: Any) -> Running:
    """A job that goes on, whatever becomes of this process."""
    return Running(
        id=job.job_id,
        done=job.done,
        queued=lambda: job.state.upper().startswith(("PENDING", "UNKNOWN")),
        outcome=lambda: _outcome(job),
        stop=lambda: False,
    )


def _local_outcome(job: Any) -> Outcome:
    """As :func:`_outcome`, without waiting for files that a network has still to bring."""
    if job.paths.result_pickle.exists():
        return _outcome(job)
    said = _last_line(job.stderr() or "")
    return Outcome("failed", f"The process ended without a result. {said}".strip())


def _outcome(job: Any) -> Outcome:
    try:
        return job.results()[0]
    except RuntimeError:  # submitit's, with the whole traceback
        error = job.exception()
        return Outcome("failed", _last_line(_trace(str(error))))


def _trace(text: str) -> str:
    """The traceback in submitit's message, which lies between two rules."""
    parts = text.split("----------------------\n")
    return parts[1] if len(parts) > 2 else text


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _terminate(process: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGTERM)
    return True


@contextlib.contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    """What is started meanwhile is left alone by the terminal's Ctrl-C; the sweep tells it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
