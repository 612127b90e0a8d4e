"""Runs of every protocol with a small random CLIP, one epoch a stage, that all tests here share."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from ml_collections import ConfigDict

from configs import digits
from dpl_jax.evaluate import evaluate
from dpl_jax.studies.protocols.base_to_new import base_to_new
from dpl_jax.studies.protocols.fewshot import fewshot
from dpl_jax.studies.protocols.transfer import read_targets, transfer
from tests.support.small_clip import random_tensors, small_config, write_clip

SHOTS, SEEDS = (2, 1), (1, 2)
# Target configs as a user writes them: a folder of images, and the new classes of the source.
FOLDER_CONFIG = """
from configs import folder

def get_config(shortcuts=None):
    config = folder.get_config(shortcuts)
    config.data.root = {root!r}
    return config
"""


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> ConfigDict:
    sizes, folder = small_config(), tmp_path_factory.mktemp("clip")
    config = digits.get_config("shots=2,T=2")
    config.clip.path = str(write_clip(folder, sizes, random_tensors(sizes)))
    config.search.epochs = config.train.epochs = 1
    # A random CLIP needs large steps before prompts change what it answers.
    config.search.prompts.warmup_rate = config.train.prompts.warmup_rate = 0.3
    # Its arrays have the same shapes whatever lengths a search finds: fewer programs to compile.
    config.train.final = "mixture"
    config.evaluate.batch_size = 540
    config.progress, config.report = "off", False
    return config


@pytest.fixture(scope="session")
def few(config: ConfigDict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fewshot")
    fewshot(config, SHOTS, SEEDS, folder)
    return folder


@pytest.fixture(scope="session")
def halves(config: ConfigDict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base_to_new")
    base_to_new(config, SEEDS, folder)
    return folder


@pytest.fixture(scope="session")
def target_files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Config files of two targets."""
    root = tmp_path_factory.mktemp("targets") / "photos"
    random = np.random.default_rng(0)
    for split, label, number in np.ndindex(2, 3, 5):
        path = root / ("train", "test")[split] / f"thing {label}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8)).save(path)
    config = root.parent / "photos.py"
    config.write_text(FOLDER_CONFIG.format(root=str(root)))
    return [str(config), str(Path(digits.__file__)) + ":classes=new"]


@pytest.fixture(scope="session")
def transferred(
    config: ConfigDict,
    few: Path,
    target_files: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The trainings of the few-shot protocol evaluated elsewhere."""
    folder = tmp_path_factory.mktemp("transfer") / "runs"
    shutil.copytree(few / "shots2", folder)
    transfer(config, read_targets(target_files, config), SEEDS, folder)
    return folder


@pytest.fixture(scope="session")
def supernet(few: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search that was evaluated itself, on validation images too."""
    folder = tmp_path_factory.mktemp("supernet") / "search"
    shutil.copytree(few / "shots2" / "search-seed1", folder)
    evaluate(folder)
    evaluate(folder, "val")
    return folder
