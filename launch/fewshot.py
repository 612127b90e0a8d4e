"""Accuracy over the number of labelled images per class; prints a table and draws a plot.

python launch/fewshot.py --config=configs/digits.py --shots=1,2,4,8,16 --seeds=1,2,3 --workdir=RUNS
"""

from dpl_jax import cli
from dpl_jax.studies.protocols.fewshot import fewshot, table
from dpl_jax.studies.protocols.flags import (
    define_numbers,
    define_seeds,
    runs_folder,
)
from dpl_jax.summary.table import print_table

CONFIG = cli.define_config()
WORKDIR = cli.define_workdir()
SHOTS = define_numbers("shots", "1,2,4,8,16", "Labelled training images per class.")
SEEDS = define_seeds()


def main() -> None:
    """Runs what is missing, prints the table and tells where everything is."""
    workdir = runs_folder(WORKDIR.value, "fewshot", CONFIG.value)
    found = fewshot(CONFIG.value, SHOTS.value, SEEDS.value, workdir)
    seeds, images = ", ".join(map(str, SEEDS.value)), found["runs"][0]["test"]["images"]
    print_table(f"{found['dataset']}, seeds {seeds}: {images} test images", *table(found))
    print(f"All numbers: {workdir}/fewshot.json, and a plot in {workdir}/fewshot.png and .svg")


if __name__ == "__main__":
    cli.run(main, required=["config"])
