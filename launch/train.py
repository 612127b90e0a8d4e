"""Trains the prompts that a search found, or that a file lists.

python launch/train.py --config=configs/digits.py --search=RUN --workdir=RUN2
python launch/train.py --config=configs/digits.py --lengths=FILE
"""

from pathlib import Path

from absl import flags

from dpl_jax import cli
from dpl_jax.commands import command
from dpl_jax.train import train

CONFIG = cli.define_config()
WORKDIR = cli.define_workdir()
SEARCH = flags.DEFINE_string("search", None, "Folder of a finished search.")
LENGTHS = flags.DEFINE_string(
    "lengths", None, 'JSON file of lengths: {"image": [one a layer], "text": [..]}.'
)
cli.define_machines()
flags.mark_flags_as_mutual_exclusive(["search", "lengths"], required=True)


def main() -> None:
    """Trains or resumes, and tells where the run is."""
    file = Path(LENGTHS.value or Path(SEARCH.value or "") / "configuration.json")
    run = train(CONFIG.value, file, WORKDIR.value)
    print(f"Training finished: {run}")
    cli.tell_report(run)
    print(f"Next: {command('evaluate')} --run={run}")


if __name__ == "__main__":
    cli.run(main, required=["config"])
