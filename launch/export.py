"""Writes a trained run to a small folder that stands alone.

python launch/export.py RUN OUT
"""

from absl import flags

from dpl_jax import cli
from dpl_jax.classifier import Classifier
from dpl_jax.commands import command
from dpl_jax.export import export_folder

RUN = flags.DEFINE_string("run", None, "Folder of a finished run.", required=True)
OUT = flags.DEFINE_string("out", None, "The folder to make.", required=True)
INCLUDE_CLIP = flags.DEFINE_bool("include_clip", False, "Copy the frozen CLIP's files too.")


def main() -> None:
    """Exports the run."""
    out = export_folder(Classifier.load(RUN.value), OUT.value, include_clip=INCLUDE_CLIP.value)
    print(f"Exported to {out}")
    print(f"Next: {command('predict')} {out} IMAGE_OR_FOLDER...")


if __name__ == "__main__":
    cli.run(main, positional="run", others="out")
