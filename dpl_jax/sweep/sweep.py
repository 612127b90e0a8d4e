"""A whole sweep in one folder: started again, it goes on where it was stopped."""

from __future__ import annotations

import functools
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dpl_jax.errors import Interrupted
from dpl_jax.folder_lock import lock_folder
from dpl_jax.interrupts import EXIT_CODES, StopRequest, stop_signals
from dpl_jax.protocols.record import check_numbers
from dpl_jax.sweep import cluster
from dpl_jax.sweep.cell import CellJob, check_cell
from dpl_jax.sweep.drive import Entry, drive, stop, take_up
from dpl_jax.sweep.grid import cell_config, make_cells
from dpl_jax.sweep.ready import check_ready
from dpl_jax.sweep.show import shown, summary
from dpl_jax.sweep.table import make_record, write_tables

JOBS = "jobs"  # submitit's files and the jobs' logs, in the sweep's folder
SECONDS = {"local": 0.5, "slurm": 2.0}  # between two looks at the jobs


def sweep(
    configs: Mapping[str, ConfigDict],
    shots: Sequence[int],
    seeds: Sequence[int],
    workdir: str | Path,
    options: cluster.Options,
    *,
    retries: int = 1,
    progress: str = "auto",
) -> dict[str, Any]:
    """Searches, trains and evaluates for every dataset, number of shots and seed.

    Args:
      configs: by dataset, see :func:`dpl_jax.sweep.grid.read_datasets`.
      shots: labelled training images a class.
      seeds: of the few-shot sample and all else that is random.
      workdir: gets a folder for every cell, ``DATASET/shotsK/seedS``, the jobs' logs, and
        table.md, .csv and .json; what it has already is kept.
      options: where the jobs run.
      retries: how often a cell is tried again that failed.
      progress: "auto", "plain" or "off", as ``config.progress``.

    Returns:
      The contents of table.json; ``unfinished`` tells of the cells that failed.

    Raises:
      DplError: for anything that the user can put right; the message says how.
      Interrupted: after SIGINT or SIGTERM.
    """
    check_numbers("shots", shots, least=1)
    check_numbers("seeds", seeds, least=0)
    workdir = Path(workdir)
    executor = cluster.make_executor(options, workdir / JOBS)
    cells = make_cells(configs, shots, seeds)
    entries = [Entry(cell, workdir / cell.name) for cell in cells]
    with lock_folder(workdir):
        for entry in entries:
            check_cell(cell_config(configs, entry.cell), entry.folder)
        take_up(entries, functools.partial(_adopt, options, workdir))
        needed = {entry.cell.dataset for entry in entries if entry.state != "finished"}
        waiting = {name: config for name, config in configs.items() if name in needed}
        check_ready(waiting, max(shots), seeds[0])
        submit = functools.partial(_submit, executor, options, configs)
        with stop_signals() as request, shown(progress) as show:
            drive(
                entries,
                submit,
                limit=options.parallel if options.executor == "local" else len(entries),
                retries=retries,
                show=show,
                stopped=lambda: request.signal is not None,
                seconds=SECONDS[options.executor],
            )
            if request.signal is not None:
                _leave(entries, request, options, workdir)
        record = make_record(entries, workdir)
        write_tables(record, workdir)
    return record


def _submit(
    executor: Any,
    options: cluster.Options,
    configs: Mapping[str, ConfigDict],
    entries: Sequence[Entry],
) -> list[cluster.Running]:
    jobs = [CellJob(cell_config(configs, entry.cell), entry.folder) for entry in entries]
    return cluster.submit(executor, options, jobs, [entry.slot for entry in entries])


def _adopt(
    options: cluster.Options, workdir: Path, entry: Entry, job_id: str
) -> cluster.Running | None:
    return cluster.adopt(options, workdir / JOBS, job_id, entry.folder)


def _leave(
    entries: Sequence[Entry], request: StopRequest, options: cluster.Options, workdir: Path
) -> None:
    assert request.signal is not None
    stop(entries, SECONDS[options.executor])
    name = signal.Signals(request.signal).name
    rest = " Jobs in Slurm's queue go on without it." if options.executor == "slurm" else ""
    raise Interrupted(
        f"The sweep was stopped by {name}: {summary(entries)}.{rest}",
        workdir=workdir,
        exit_code=EXIT_CODES[request.signal],
    )
