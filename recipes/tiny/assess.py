"""How good the tiny CLIP is on the real handwritten digits: a final look at a finished CLIP.

No real digit is used in pretraining, neither for gradients nor to pick a checkpoint.
"""

from __future__ import annotations

from pathlib import Path

from dpl_jax.clip.model import load_clip
from dpl_jax.data.digits import read_digits
from recipes.accuracy import accuracies


def assess(folder: Path, seeds: tuple[int, ...] = (1, 2, 3)) -> dict[str, float]:
    """Returns the accuracies of the CLIP in `folder` on the test digits, in percent."""
    return accuracies(load_clip(folder), read_digits(), seeds=seeds)
