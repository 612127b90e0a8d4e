"""Search, train and evaluate in one go; prints a table and where the runs are.

python launch/demo.py                                   # digits with the tiny CLIP, offline
python launch/demo.py --config=configs/digits.py:shots=4 --seeds=1,2,3
"""

from dpl_jax import cli
from dpl_jax.runtime.times import timestamp
from dpl_jax.studies.demo import demo, table
from dpl_jax.studies.protocols.flags import define_seeds
from dpl_jax.summary.table import print_table

CONFIG = cli.define_config(default="configs/digits.py")
cli.define_workdir()
SEEDS = define_seeds(default="1")


def main() -> None:
    """Runs all seeds and prints the table."""
    workdir = cli.choose_workdir(f"runs/demo-{timestamp()}")
    found = demo(CONFIG.value, SEEDS.value, workdir)
    first = found.results[0]
    data, seeds = CONFIG.value.data, ", ".join(map(str, SEEDS.value))
    title = f"{data.name}, {data.shots} shots, seeds {seeds}: "
    print_table(title + f"{first['images']} test images", *table(found.results))
    print(f"Runs: {workdir}")
    print(f"Chosen prompt lengths: {found.searches[0]}/configuration.json")
    for run in (*found.searches, *found.trainings):
        cli.tell_report(run)


if __name__ == "__main__":
    cli.run(main)
