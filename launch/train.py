"""Trains the prompts that a search found, or that a file lists.

python launch/train.py --search=RUN --workdir=RUN2            # data, CLIP and seed are the search's
python launch/train.py --search=RUN --config.train.epochs=20  # what differs is said
python launch/train.py --config=configs/digits.py --lengths=FILE
"""

from pathlib import Path

from absl import flags

from dpl_jax import cli
from dpl_jax.runs.saved_config import agree_with_search
from dpl_jax.runtime.launchers import command_line
from dpl_jax.train import train

CONFIG = cli.define_config()
WORKDIR = cli.define_workdir()
SEARCH = flags.DEFINE_string(
    "search", None, "Folder of a finished search; its config stands for a --config not given."
)
LENGTHS = flags.DEFINE_string(
    "lengths", None, 'JSON file of lengths: {"image": [one per layer], "text": [..]}.'
)
cli.define_machines()
flags.mark_flags_as_mutual_exclusive(["search", "lengths"], required=True)


def main() -> None:
    """Trains or resumes, and tells where the run is."""
    config, file = CONFIG.value, Path(LENGTHS.value or "")
    if SEARCH.value is not None:
        file = Path(SEARCH.value) / "configuration.json"
        config = agree_with_search(config, file.parent, cli.said_fields())
    run = train(config, file, WORKDIR.value)
    print(f"Training finished: {run}")
    cli.tell_report(run)
    print(f"Next: {command_line('evaluate', run=run)}")


if __name__ == "__main__":
    cli.run(main, required=["config"], config_from="search")
