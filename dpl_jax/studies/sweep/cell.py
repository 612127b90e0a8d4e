"""One cell of a sweep: a search, a training and an evaluation, as a job that can be stopped.

``python -m dpl_jax.studies.sweep.cell PLAN INDEX`` is what the jobs of a sweep run; on Slurm with a
third word, after which an interrupted one goes back to the queue.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dpl_jax.config import with_absolute_paths
from dpl_jax.errors import DplError, Interrupted
from dpl_jax.files.json import read_json, write_json
from dpl_jax.runs.folder import check_same_config
from dpl_jax.runs.lock import lock_folder
from dpl_jax.runtime.compilation import use_compilation_cache
from dpl_jax.runtime.signals import end_on_sigterm
from dpl_jax.studies.finished_stages import evaluate_once, search_once, train_once
from dpl_jax.studies.sweep.grid import cell_config
from dpl_jax.studies.sweep.plan import read_plan

OTHER_STAGE = {"search": "train", "train": "search"}  # whose settings may differ
OUTCOME = "outcome.json"  # in a cell's folder: why the last job ended without finishing the cell
RETURNS = 20  # a job that was interrupted comes back so often


def run_cell(config: ConfigDict, folder: Path) -> None:
    """Runs what is missing in ``folder``, after another process there has ended.

    SIGTERM ends it after the running steps, with a checkpoint.

    Raises:
      DplError: as the stages, or a folder that holds a run with other settings.
      Interrupted: after a signal.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with lock_folder(folder, wait=True):
        (folder / OUTCOME).unlink(missing_ok=True)
        try:
            check_cell(config, folder)
            searched = search_once(config, folder / "search")
            evaluate_once(train_once(config, searched, folder / "train"))
        except (Exception, SystemExit) as error:  # the latter of SIGTERM outside of training
            message = "Stopped by SIGTERM." if isinstance(error, SystemExit) else str(error)
            stopped = isinstance(error, Interrupted | SystemExit)
            outcome = {
                "state": "interrupted" if stopped else "failed",
                "message": message or type(error).__name__,
            }
            write_json(folder / OUTCOME, outcome)
            raise


def check_cell(config: ConfigDict, folder: Path) -> None:
    """Checks that what a cell's folder holds may go on with ``config``.

    Raises:
      RunFolderError: when it holds a run with other settings.
    """
    for kind, other in OTHER_STAGE.items():
        if (folder / kind / "config.json").is_file():
            check_same_config(folder / kind, kind, with_absolute_paths(config), (other,))


def has_finished(folder: Path) -> bool:
    """Whether a cell has its evaluation."""
    return "test" in (_read(folder / "train" / "results.json").get("evaluations") or ())


def read_outcome(folder: Path) -> tuple[str, str]:
    """Why the last job in a cell's folder ended: "failed" or "interrupted", and its message.

    Both are empty for one that was killed before it could tell.
    """
    outcome = _read(folder / OUTCOME)
    return str(outcome.get("state", "")), str(outcome.get("message", ""))


def _read(path: Path) -> dict[str, Any]:
    """What a file holds; nothing, where there is none or it is damaged."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def main(path: str, index: str, requeue: str = "") -> int:
    """Runs a cell of a plan; exit code 1 when it failed, 75 when it was interrupted."""
    plan = read_plan(Path(path))
    cell = plan.cells[int(index)]
    use_compilation_cache()
    end_on_sigterm()
    try:
        run_cell(cell_config(plan.configs, cell), plan.workdir / cell.name)
    except (Interrupted, SystemExit) as stop:
        print(stop, file=sys.stderr)
        if requeue and int(os.environ.get("SLURM_RESTART_COUNT", 0)) < RETURNS:
            subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=False)
        return os.EX_TEMPFAIL
    except DplError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
