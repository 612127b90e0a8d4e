"""Writes the report of a run: one page, and its figures as PNG and SVG files.

python launch/report.py RUN         # or --run=RUN

A search, a training and an evaluation write it at their end; --config.report=False leaves it out.
"""

from absl import flags

from dpl_jax import cli
from dpl_jax.report.page import write_report

RUN = flags.DEFINE_string("run", None, "Folder of a search or training.", required=True)


def main() -> None:
    """Writes the report and tells where it is."""
    page = write_report(RUN.value)
    print(f"Report: {page}, figures in {page.parent}/plots")


if __name__ == "__main__":
    cli.run(main, positional="run")
