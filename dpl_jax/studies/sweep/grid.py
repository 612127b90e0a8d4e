"""The grid of a sweep: datasets, shots and seeds."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ml_collections import ConfigDict

from dpl_jax.cli.flags import apply_settings
from dpl_jax.config import check_config
from dpl_jax.data.coop.layouts import LAYOUTS
from dpl_jax.errors import ConfigError
from dpl_jax.runs.config_files import load_config
from dpl_jax.runs.results import task_name
from dpl_jax.studies.checks import check_numbers

# The eleven datasets of CoOp (arXiv 2109.01134), in the order of its tables.
PAPER = ("imagenet", *(name for name in LAYOUTS if not name.startswith("imagenet")))


class Cell(NamedTuple):
    """One search, training and evaluation."""

    dataset: str
    shots: int
    seed: int

    @property
    def name(self) -> str:
        """``caltech101/shots4/seed2``: the cell's folder within the sweep's."""
        return f"{self.dataset}/shots{self.shots}/seed{self.seed}"


def read_datasets(names: Sequence[str], settings: Sequence[str]) -> dict[str, ConfigDict]:
    """Loads the config of every dataset, by the name that its folder gets.

    Args:
      names: as of ``--config``: "caltech101", "configs/dtd.py:classes=base", a file of one's own.
      settings: what to replace in all of them, such as "search.epochs=20".

    Raises:
      ConfigError: no names, an unknown one, one twice, or a setting that no config has.
    """
    configs: dict[str, ConfigDict] = {}
    for name in names:
        config = load_config(name)
        if "data" not in config:
            raise ConfigError(f"--datasets names {name}, which is no config of a dataset.")
        apply_settings(config, settings)
        check_config(config)
        task = task_name(config.data)
        if task in configs:
            raise ConfigError(f"--datasets names {task} twice.")
        configs[task] = config
    if not configs:
        raise ConfigError("--datasets names nothing; write --datasets=caltech101,dtd")
    return configs


def make_cells(
    datasets: Iterable[str], shots: Sequence[int], seeds: Sequence[int]
) -> tuple[Cell, ...]:
    """Every combination, in the order of datasets, shots and seeds; their index is from 0.

    Raises:
      ConfigError: for numbers that cannot be.
    """
    check_numbers("--shots", shots, least=1)
    check_numbers("--seeds", seeds, least=0)
    return tuple(itertools.starmap(Cell, itertools.product(datasets, sorted(shots), seeds)))


def cell_config(configs: Mapping[str, ConfigDict], cell: Cell) -> ConfigDict:
    """The config of a cell's dataset with the cell's shots and seed."""
    config = configs[cell.dataset].copy_and_resolve_references()
    config.data.shots, config.seed = cell.shots, cell.seed
    return config
