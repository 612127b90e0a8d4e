"""Writes the CLIP of a training by recipes/small as a folder for dpl_jax.load_clip.

python -m recipes.export --run=RUN --output=DIR
"""

from pathlib import Path

from absl import flags

from dpl_jax import cli
from recipes.small.export import export

RUN = flags.DEFINE_string("run", None, "The folder of the training, which may still go on.")
OUTPUT = flags.DEFINE_string("output", None, "A new folder for the CLIP.")


def main() -> None:
    """Writes the folder and says what is in it."""
    record = export(Path(cli.need("run", RUN.value)), Path(cli.need("output", OUTPUT.value)))
    told = "".join(f", {k} {v} %" for k, v in record["zero_shot"].items() if k != "step")
    print(f"{OUTPUT.value}: step {record['steps']}, epoch {record['epochs']}{told}")


if __name__ == "__main__":
    cli.run(main, required=("run", "output"))
