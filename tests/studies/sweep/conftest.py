"""A small random CLIP, small image folders, and settings that end in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from ml_collections import ConfigDict

from dpl_jax.studies.sweep.grid import read_datasets
from tests.support.small_clip import random_tensors, small_config, write_clip

FOLDER_CONFIG = """
from configs import folder

def get_config(shortcuts=None):
    config = folder.get_config(shortcuts)
    config.data.root = {root!r}
    config.data.augment = "none"
    return config
"""


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """As --set takes them."""
    sizes = small_config({"num_hidden_layers": 1}, {"num_hidden_layers": 1})
    clip = write_clip(tmp_path_factory.mktemp("clip"), sizes, random_tensors(sizes))
    return [
        f"clip.path={clip}",
        "search.max_context_length=2",
        "search.epochs=1",
        "train.epochs=1",
        "train.final=mixture",  # the same shapes whatever a search finds: fewer programs
        "report=false",
        "progress=plain",
    ]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """The config file of two classes of noise in folders."""
    root, random = tmp_path / "photos", np.random.default_rng(0)
    for split, label, number in np.ndindex(2, 2, 3):
        path = root / ("train", "test")[split] / f"thing {label}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8)).save(path)
    config = tmp_path / "photos.py"
    config.write_text(FOLDER_CONFIG.format(root=str(root)))
    return config


@pytest.fixture
def datasets(photos: Path, settings: list[str]) -> dict[str, ConfigDict]:
    return read_datasets([str(photos)], settings)
