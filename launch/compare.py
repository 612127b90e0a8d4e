"""Compares searched prompts with other methods over several seeds; prints a table.

python launch/compare.py --config=configs/digits.py --config.compare.seeds=1,2,3,4,5 --workdir=RUN
python launch/compare.py --config=configs/digits.py --config.compare.methods=coop,uniform_4,mixture
"""

from dpl_jax import cli
from dpl_jax.files.json import read_json
from dpl_jax.members.groups import use_all_cores
from dpl_jax.studies.comparison.compare import compare
from dpl_jax.studies.comparison.report import table
from dpl_jax.studies.comparison.stability import stability_table
from dpl_jax.summary.table import print_table

CONFIG = cli.define_config()
WORKDIR = cli.define_workdir()


def main() -> None:
    """Runs or resumes the comparison, prints its table and tells where it is."""
    run = compare(CONFIG.value, WORKDIR.value)
    found = read_json(run / "compare.json")
    seeds = ", ".join(str(seed) for seed in CONFIG.value.compare.seeds)
    print_table(f"{found['dataset']}, {found['shots']} shots, seeds {seeds}", *table(found))
    print("* the difference to DPL is clear: its 95 % interval leaves out 0")
    columns, rows = stability_table(found)
    if rows:
        print_table("Searches with different seeds", columns, rows)
    print(f"Comparison: {run}/compare.json, and a plot in {run}/compare.png and .svg")


if __name__ == "__main__":
    use_all_cores()
    cli.run(main, required=["config"])
