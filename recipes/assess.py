"""Measures a pretrained CLIP on real images that took no part in its training.

python -m recipes.assess tiny
python -m recipes.assess FOLDER --tasks=DIR,DIR --names=FILE
"""

import dataclasses
from pathlib import Path

from absl import flags

from dpl_jax import cli
from dpl_jax.clip.model import load_clip
from dpl_jax.data.digits import read_digits
from dpl_jax.data.folder import read_folder
from dpl_jax.data.split import Dataset
from recipes.accuracy import accuracies
from recipes.small.names import read_names

CLIP = flags.DEFINE_string("clip", "tiny", "A CLIP's folder, hub id, or the name of an own one.")
TASKS = flags.DEFINE_list("tasks", [], "Folders with train/CLASS/*, test/CLASS/*; else the digits.")
NAMES = flags.DEFINE_string("names", None, "Names of class folders (data.names of the recipe).")
SHOTS = flags.DEFINE_integer("shots", 16, "Training images per class of the linear probe.")
SEEDS = flags.DEFINE_list("seeds", ["1", "2", "3"], "Seeds of the linear probe; empty for none.")


def main() -> None:
    """Prints the accuracies, a line for each task."""
    clip = load_clip(CLIP.value)
    tasks = {Path(root).name: read_task(root) for root in TASKS.value} or {"digits": read_digits()}
    for name, task in tasks.items():
        found = accuracies(clip, task, SHOTS.value, [int(seed) for seed in SEEDS.value])
        told = ", ".join(f"{kind.replace('_', ' ')} {value} %" for kind, value in found.items())
        print(f"{name}: {told} ({len(task.classnames)} classes, {len(task.test)} images)")


def read_task(root: str) -> Dataset:
    """Reads class folders, called as --names says where it is given."""
    task = read_folder(root)
    if NAMES.value is None:
        return task
    names = read_names(NAMES.value, task.classnames)
    return dataclasses.replace(task, classnames=tuple(names.first))


if __name__ == "__main__":
    cli.run(main, positional="clip")
