"""Writes a trained run to a small folder that stands alone.

python launch/export.py RUN OUT
python launch/export.py RUN OUT --program --onnx     # for JAX alone, and for ONNX Runtime
"""

from absl import flags

from dpl_jax import cli
from dpl_jax.inference.classifier import Classifier
from dpl_jax.inference.export import export_folder
from dpl_jax.runtime.launchers import command_line

RUN = flags.DEFINE_string("run", None, "Folder of a finished run.", required=True)
OUT = flags.DEFINE_string("out", None, "The folder to make.", required=True)
CLIP = flags.DEFINE_string("clip", None, "Its CLIP, where it is not found: a folder or a hub id.")
INCLUDE_CLIP = flags.DEFINE_bool("include_clip", False, "Copy the frozen CLIP's files too.")
PROGRAM = flags.DEFINE_bool("program", False, "Also write a program that needs JAX alone.")
ONNX = flags.DEFINE_bool("onnx", False, "Also write an ONNX model.")


def main() -> None:
    """Exports the run."""
    out = export_folder(
        Classifier.load(RUN.value, CLIP.value),
        OUT.value,
        include_clip=INCLUDE_CLIP.value,
        program=PROGRAM.value,
        onnx=ONNX.value,
    )
    print(f"Exported to {out}")
    print(f"Next: {command_line('serve', run=out)}")


if __name__ == "__main__":
    cli.run(main, positional="run", others="out")
