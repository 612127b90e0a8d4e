"""A small random CLIP that the tests of the core share."""

from pathlib import Path

import pytest

from dpl_jax import Clip, load_clip
from tests.core.small_clip import random_tensors, small_config, write_clip


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = small_config()
    return write_clip(tmp_path_factory.mktemp("clip"), config, random_tensors(config))


@pytest.fixture(scope="session")
def clip(clip_folder: Path) -> Clip:
    return load_clip(clip_folder)
