"""From a training, finished or not, to a folder with the CLIP and the record of its training."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np

from dpl_jax.errors import ConfigError
from dpl_jax.files.json import read_json, write_json
from dpl_jax.runs.metrics import read_metrics
from recipes.clip_folder import describe, new_folder, write_clip
from recipes.sizes import clip_config
from recipes.small.state import load_average
from recipes.small.train import CHECKPOINT


def export(run: Path, output: Path) -> dict[str, Any]:
    """Writes the averaged weights of a training in ``run`` as float16 into a new folder.

    Returns:
      The record of the training, which is in the folder as well.

    Raises:
      ConfigError: there is no checkpoint in ``run``, or ``output`` is not empty.
      CheckpointError: the checkpoint is damaged.
    """
    if not (run / CHECKPOINT).is_file():
        raise ConfigError(f"{run} has no {CHECKPOINT}; give the --workdir of a training.")
    config = ml_collections.ConfigDict(read_json(run / "config.json"))
    sizes = clip_config(config)
    params, step = load_average(run / CHECKPOINT, sizes)
    with new_folder(output) as folder:
        for file in (run / "tokenizer").iterdir():
            shutil.copy(file, folder)
        write_clip(folder, params, sizes, np.float16)
        record = describe(config) | _progress(run, step, config.batch_size)
        del record["recipe"]["data"]  # says only where photos lay on one machine
        write_json(folder / "training.json", record)
    return record


def _progress(run: Path, step: int, batch_size: int) -> dict[str, Any]:
    """Steps, passes, seconds and the last accuracies up to the checkpoint."""
    rows = [row for row in read_metrics(run) if row["step"] <= step]
    counts = np.diff([0, *(row["step"] for row in rows)])
    speeds = [row["images_per_second"] for row in rows]
    looks = [row for row in rows if "validation" in row]
    numbers = ("epoch", "loss", "images_per_second")
    return {
        "steps": step,
        "epochs": rows[-1]["epoch"] if rows else 0,
        "seconds": round(float(np.sum(counts * batch_size / speeds))),
        "zero_shot": {k: v for k, v in looks[-1].items() if k not in numbers} if looks else {},
    }
