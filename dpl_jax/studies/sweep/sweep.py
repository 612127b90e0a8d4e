"""A whole sweep in one folder: started again, it goes on where it was stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dpl_jax.errors import Interrupted
from dpl_jax.runs.lock import lock_folder
from dpl_jax.runtime.signals import EXIT_CODES, stop_signals
from dpl_jax.studies.sweep import cluster
from dpl_jax.studies.sweep.cell import check_cell, has_finished
from dpl_jax.studies.sweep.grid import cell_config, make_cells
from dpl_jax.studies.sweep.plan import Plan, make_jobs_folder
from dpl_jax.studies.sweep.ready import check_ready
from dpl_jax.studies.sweep.show import shown, summary
from dpl_jax.studies.sweep.table import make_record, write_tables
from dpl_jax.studies.sweep.watch import Entry, watch


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
      configs: by dataset, see :func:`dpl_jax.studies.sweep.grid.read_datasets`.
      shots: labelled training images per class.
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
    workdir = Path(workdir)
    cluster.check_options(options)
    cells = make_cells(configs, shots, seeds)
    entries = [Entry(cell, workdir / cell.name) for cell in cells]
    for entry in entries:
        check_cell(cell_config(configs, entry.cell), entry.folder)
    make_jobs_folder(workdir)
    with lock_folder(workdir):
        needed = {entry.cell.dataset for entry in entries if not has_finished(entry.folder)}
        waiting = {name: config for name, config in configs.items() if name in needed}
        check_ready(waiting, max(shots), seeds[0])
        scheduler = cluster.EXECUTORS[options.executor](options, Plan(workdir, configs, cells))
        with stop_signals() as request, shown(entries, progress) as show:
            watch(entries, scheduler, retries, show, lambda: request.signal is not None)
            if request.signal is not None:
                scheduler.stop()
                raise Interrupted(
                    f"The sweep was stopped by {request.signal.name}: {summary(entries)}. Jobs "
                    "that it has not started itself go on without it.",
                    workdir=workdir,
                    exit_code=EXIT_CODES[request.signal],
                )
        record = make_record(entries, workdir)
        write_tables(record, workdir)
    return record
