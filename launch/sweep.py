"""The grid of datasets, shots and seeds as jobs; ends in one table beside published numbers.

python launch/sweep.py --datasets=caltech101,dtd --shots=1,2,4,8,16 --seeds=1,2,3 --workdir=RUNS \
    --set=data.root=DATA --executor=slurm --partition=gpu --minutes=240

With --print_cells it lists the cells, with --cell=INDEX it runs one of them: for other schedulers.
"""

import sys
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict

from dpl_jax import cli
from dpl_jax.errors import ConfigError
from dpl_jax.studies.protocols.flags import define_numbers, define_seeds
from dpl_jax.studies.sweep.cell import has_finished, run_cell
from dpl_jax.studies.sweep.cluster import Options
from dpl_jax.studies.sweep.grid import PAPER, cell_config, make_cells, read_datasets
from dpl_jax.studies.sweep.sweep import sweep
from dpl_jax.studies.sweep.table import caption, table
from dpl_jax.summary.table import print_table

DATASETS = flags.DEFINE_list("datasets", list(PAPER), "Configs, by name or file; one per dataset.")
SHOTS = define_numbers("shots", "1,2,4,8,16", "Labelled training images per class.")
SEEDS = define_seeds()
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of all runs; what it has is kept.")
SET = flags.DEFINE_multi_string("set", [], "A setting of all configs: --set=search.epochs=20.")
RETRIES = flags.DEFINE_integer("retries", 1, "How often a cell that failed is tried again.")
PROGRESS = flags.DEFINE_enum("progress", "auto", ["auto", "plain", "off"], "How to show it.")
EXECUTOR = flags.DEFINE_enum("executor", "local", ["local", "slurm"], "Where jobs run.")
PARALLEL = flags.DEFINE_integer("parallel", None, "Jobs at a time; 1 here, 32 on Slurm.")
MINUTES = flags.DEFINE_integer("minutes", 0, "A job's time on Slurm; it goes on in a next one.")
GPUS = flags.DEFINE_integer("gpus", 1, "GPUs of a job; 0 for the CPU.")
CPUS = flags.DEFINE_integer("cpus", 0, "Cores of a job on Slurm; 0 for its default.")
PARTITION = flags.DEFINE_string("partition", "", "Of Slurm; its default where not given.")
PRINT_CELLS = flags.DEFINE_bool("print_cells", False, "List index, name and state of the cells.")
CELL = flags.DEFINE_integer("cell", None, "Run the cell of this index here, and nothing else.")
SLURM = flags.DEFINE_multi_string("slurm", [], "More of sbatch's options: --slurm=account=NAME.")


def main() -> None:
    """Runs what is missing, prints the table and tells what failed."""
    configs = read_datasets(DATASETS.value, SET.value)
    cells, workdir = make_cells(configs, SHOTS.value, SEEDS.value), Path(WORKDIR.value or "")
    if PRINT_CELLS.value:
        for index, cell in enumerate(cells):
            state = "finished" if has_finished(workdir / cell.name) else "open"
            print(index, cell.name, state, sep="\t")
    elif CELL.value is not None:
        if not 0 <= CELL.value < len(cells):
            raise ConfigError(f"--cell={CELL.value} is not one of 0 to {len(cells) - 1}.")
        cell = cells[CELL.value]
        run_cell(cell_config(configs, cell), workdir / cell.name)
        print(f"{cell.name}: finished")
    else:
        _sweep(configs)


def _sweep(configs: dict[str, ConfigDict]) -> None:
    extra = dict(_pair(option) for option in SLURM.value)
    parallel = PARALLEL.value or (1 if EXECUTOR.value == "local" else 32)
    own = (MINUTES.value, GPUS.value, CPUS.value, PARTITION.value, extra)
    options = Options(EXECUTOR.value, parallel, *own)
    record = sweep(
        configs,
        SHOTS.value,
        SEEDS.value,
        WORKDIR.value or "",
        options,
        retries=RETRIES.value,
        progress=PROGRESS.value,
    )
    print_table(caption(record), *table(record))
    print(f"All numbers: {WORKDIR.value}/table.md, .csv and .json")
    for name, message in record["unfinished"].items():
        print(f"failed: {name}: {message}", file=sys.stderr)
    if record["unfinished"]:
        sys.exit(f"The logs are in {WORKDIR.value}/jobs; the same command tries again.")


def _pair(option: str) -> tuple[str, str]:
    name, equals, value = option.partition("=")
    if not equals:
        raise ConfigError(f"--slurm={option} is not understood; write --slurm=account=NAME")
    return name, value


if __name__ == "__main__":
    cli.run(main, required=["workdir"])
