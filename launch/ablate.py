"""Searches, trains and evaluates every maximum context length with every seed, all at once.

python launch/ablate.py --config=configs/digits.py \
    --config.ablate.max_context_length=2,4,6,8,10 --config.ablate.seeds=1,2,3 --workdir=RUN
"""

from dpl_jax import cli
from dpl_jax.files.json import read_json
from dpl_jax.members.groups import use_all_cores
from dpl_jax.studies.ablation import ablate
from dpl_jax.studies.ablation_report import table
from dpl_jax.summary.table import print_table

CONFIG = cli.define_config()
WORKDIR = cli.define_workdir()


def main() -> None:
    """Runs or resumes the ablation, prints its table and tells where it is."""
    run = ablate(CONFIG.value, WORKDIR.value)
    found = read_json(run / "ablation.json")
    seeds = ", ".join(str(seed) for seed in CONFIG.value.ablate.seeds)
    title = f"{found['dataset']}, {found['shots']} shots, seeds {seeds}: "
    print_table(title + f"{found['images']} test images", *table(found))
    print(f"Ablation: {run}/ablation.json, and a plot in {run}/ablation.png and .svg")


if __name__ == "__main__":
    use_all_cores()
    cli.run(main, required=["config"])
