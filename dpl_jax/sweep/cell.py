"""One cell of a sweep: a search, a training and an evaluation, as a job that can be stopped."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from dpl_jax.compilation_cache import use_compilation_cache
from dpl_jax.errors import DplError, Interrupted
from dpl_jax.folder_lock import lock_folder
from dpl_jax.interrupts import StopRequest
from dpl_jax.json_files import read_json
from dpl_jax.reuse import evaluate_once, search_once, train_once
from dpl_jax.run_folder import check_same_config

OTHER_STAGE = {"search": "train", "train": "search"}  # whose settings may differ


class Outcome(NamedTuple):
    """How a job ended: "finished", "failed" or "interrupted", and why."""

    state: str
    message: str = ""


class TerminatedError(BaseException):
    """SIGTERM where nothing catches it; no Exception, so that nothing takes it for one."""


class CellJob:
    """What a scheduler runs. A stage that has finished is not run again.

    SIGTERM ends it after the running steps, with a checkpoint. So does submitit's SIGUSR2, which
    tells of pre-emption or the end of the time, and then the job goes back to the queue.
    """

    def __init__(self, config: ConfigDict, folder: Path) -> None:
        """A job with the config of a cell, and the cell's folder."""
        self._config = config.to_dict()
        self._folder = folder.absolute()

    def __call__(self) -> Outcome:
        """Runs what is missing, after another process in the same folder has ended."""
        use_compilation_cache()
        self._folder.mkdir(parents=True, exist_ok=True)
        with _signals() as requeue, lock_folder(self._folder, wait=True):
            try:
                run_cell(ConfigDict(self._config), self._folder)
            except TerminatedError:
                return Outcome("interrupted", "Stopped by SIGTERM.")
            except Interrupted as stop:
                requeue()
                return Outcome("interrupted", str(stop))
            except DplError as error:
                return Outcome("failed", str(error))
        return Outcome("finished")

    def checkpoint(self) -> Any:
        """What submitit puts back into the queue: the same job, which goes on where it stopped."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def run_cell(config: ConfigDict, folder: Path) -> None:
    """Searches, trains and evaluates in ``folder``; what has finished is kept."""
    searched = search_once(config, folder / "search")
    evaluate_once(train_once(config, searched, folder / "train"))


def has_finished(folder: Path) -> bool:
    """Whether a cell has its evaluation."""
    try:
        return "test" in read_json(folder / "train" / "results.json").get("evaluations", {})
    except (FileNotFoundError, ValueError):
        return False


def check_cell(config: ConfigDict, folder: Path) -> None:
    """Checks that what a cell's folder holds may go on with ``config``.

    Raises:
      RunFolderError: when it holds a run with other settings.
    """
    for kind, other in OTHER_STAGE.items():
        if (folder / kind / "config.json").is_file():
            check_same_config(folder / kind, kind, config, (other,))


@contextlib.contextmanager
def _signals() -> Iterator[Any]:
    """Handles SIGTERM and SIGUSR2; gives what puts a pre-empted job back into the queue."""
    scheduler, preempted = signal.getsignal(signal.SIGUSR2), False

    def terminate(number: int, frame: FrameType | None) -> None:
        raise TerminatedError

    def preempt(number: int, frame: FrameType | None) -> None:
        nonlocal preempted
        preempted, training = True, signal.getsignal(signal.SIGTERM)
        if isinstance(training, StopRequest):
            training(signal.SIGTERM, frame)  # ends in Interrupted, behind a checkpoint
        else:
            requeue()

    def requeue() -> None:
        """Does not come back when the job was pre-empted."""
        if preempted and callable(scheduler):
            scheduler(signal.SIGUSR2, None)

    before = signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGUSR2, preempt)
    try:
        yield requeue
    finally:
        signal.signal(signal.SIGUSR2, scheduler)
        signal.signal(signal.SIGTERM, before)
