"""Pretrains the embedded tiny CLIP.

python launch/pretrain.py --config=configs/pretrain_tiny.py --workdir=runs/tiny_clip
"""

import time
from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

from dpl_jax.pretrain.export import pretrain_to

CONFIG = config_flags.DEFINE_config_file(
    "config", "configs/pretrain_tiny.py", "The recipe; any field can be overridden."
)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "A new folder for the CLIP; runs/tiny-clip-TIME unless told."
)


def main(argv: list[str]) -> None:
    """Trains, writes the folder and prints its accuracies."""
    if len(argv) > 1:
        raise app.UsageError(f"These arguments are no flags: {' '.join(argv[1:])}")
    name = time.strftime("runs/tiny-clip-%Y%m%d-%H%M%S")
    workdir = Path(WORKDIR.value or name)
    record = pretrain_to(workdir, CONFIG.value)
    accuracy = record["digits_accuracy"]
    print(f"{workdir}: {record['steps']} steps in {record['seconds']} s")
    print(f"digits: zero-shot {accuracy['zero_shot']} %, linear probe {accuracy['linear_probe']} %")


if __name__ == "__main__":
    app.run(main)
