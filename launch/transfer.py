"""Trains on one dataset, evaluates on others: cross-dataset transfer, domain generalisation.

python launch/transfer.py --config=configs/imagenet.py --config.data.root=DATA \
    --targets=configs/imagenetv2.py,configs/imagenet_sketch.py --seeds=1,2,3 --workdir=RUNS
"""

from absl import flags

from dpl_jax import cli
from dpl_jax.studies.protocols.flags import define_seeds, runs_folder
from dpl_jax.studies.protocols.transfer import read_targets, table, transfer
from dpl_jax.summary.table import print_table

CONFIG = cli.define_config()
WORKDIR = cli.define_workdir()
TARGETS = flags.DEFINE_list("targets", [], "Config files of the datasets to evaluate on.")
SEEDS = define_seeds()


def main() -> None:
    """Runs what is missing, prints the table and tells where everything is."""
    targets = read_targets(TARGETS.value, CONFIG.value)
    workdir = runs_folder(WORKDIR.value, "transfer", CONFIG.value)
    found = transfer(CONFIG.value, targets, SEEDS.value, workdir)
    seeds = ", ".join(map(str, SEEDS.value))
    title = f"Trained on {found['source']}, {found['shots']} shots, seeds {seeds}: accuracy"
    print_table(title, *table(found))
    print(f"All numbers: {workdir}/transfer.json")


if __name__ == "__main__":
    cli.run(main, required=["config"])
