"""What jobs are told: JSON files in a folder of the user alone, written before a job is started.

A plan is named by its contents, and a Slurm job by its plan. So which cells are in the queue
follows from the plans and the queue alone, whenever a sweep was killed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ml_collections import ConfigDict

from dpl_jax.config import with_absolute_paths
from dpl_jax.errors import RunFolderError
from dpl_jax.files.json import read_json, to_json, write_json
from dpl_jax.files.private_folder import make_private
from dpl_jax.studies.sweep.grid import Cell

PREFIX = "dpl-sweep-"


class Plan(NamedTuple):
    """Some cells of a sweep: its folder, the configs by dataset, and the cells."""

    workdir: Path
    configs: Mapping[str, ConfigDict]
    cells: Sequence[Cell]


def make_jobs_folder(workdir: Path) -> Path:
    """``workdir/jobs``, for plans and logs: whoever can write a plan has a say in what runs.

    Raises:
      RunFolderError: when it cannot be made, or is another user's.
    """
    folder = workdir / "jobs"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        if make_private(folder):
            return folder.absolute()
        reason = "it belongs to another user"
    except OSError as error:
        reason = error.strerror or str(error)
    raise RunFolderError(
        f"{folder} cannot hold the jobs of this sweep ({reason}). Choose a folder of your own "
        "with --workdir."
    )


def write_plan(plan: Plan, cells: Sequence[Cell]) -> Path:
    """Writes the plan of some of a sweep's cells into the folder of its jobs.

    Its paths are absolute: a job may start in another folder, with other variables.
    """
    configs = {name: with_absolute_paths(config) for name, config in plan.configs.items()}
    content = {
        "workdir": str(plan.workdir.absolute()),
        "configs": {name: to_json(config.to_dict()) for name, config in configs.items()},
        "cells": cells,
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    path = make_jobs_folder(plan.workdir) / f"{PREFIX}{digest[:12]}.json"
    write_json(path, content)
    return path


def read_plan(path: Path) -> Plan:
    """Reads what :func:`write_plan` wrote."""
    content = read_json(path)
    configs = {name: ConfigDict(config) for name, config in content["configs"].items()}
    return Plan(Path(content["workdir"]), configs, [Cell(*cell) for cell in content["cells"]])
