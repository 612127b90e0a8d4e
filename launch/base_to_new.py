"""Trains on the base classes, evaluates on base and new classes; prints accuracies and their H.

python launch/base_to_new.py --config=configs/caltech101.py --seeds=1,2,3 --workdir=RUNS
"""

from dpl_jax import cli
from dpl_jax.studies.protocols.base_to_new import base_to_new, table
from dpl_jax.studies.protocols.flags import define_seeds, runs_folder
from dpl_jax.summary.table import print_table

CONFIG = cli.define_config()
WORKDIR = cli.define_workdir()
SEEDS = define_seeds()


def main() -> None:
    """Runs what is missing, prints the table and tells where everything is."""
    workdir = runs_folder(WORKDIR.value, "base-to-new", CONFIG.value)
    found = base_to_new(CONFIG.value, SEEDS.value, workdir)
    first, seeds = found["runs"][0], ", ".join(map(str, SEEDS.value))
    title = f"{found['dataset']}, {found['shots']} shots, seeds {seeds}: "
    images = f"{first['base']['images']} base and {first['new']['images']} new test images"
    print_table(title + images, *table(found))
    print(f"All numbers: {workdir}/base_to_new.json")


if __name__ == "__main__":
    cli.run(main, required=["config"])
