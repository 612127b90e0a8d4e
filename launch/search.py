"""Searches how many prompt tokens each layer of each CLIP tower should get.

python launch/search.py --config=configs/digits.py --workdir=RUN
"""

from dpl_jax import cli
from dpl_jax.runtime.launchers import command_line
from dpl_jax.search import search

CONFIG = cli.define_config()
WORKDIR = cli.define_workdir()
cli.define_machines()


def main() -> None:
    """Runs or resumes the search and tells where it is."""
    run = search(CONFIG.value, WORKDIR.value)
    print(f"Search finished: {run}/configuration.json")
    cli.tell_report(run)
    print(f"Next: {command_line('train', search=run)}")


if __name__ == "__main__":
    cli.run(main, required=["config"])
