"""A small random CLIP with more layers than the core's, its classes and images."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from dpl_jax import Clip, load_clip
from dpl_jax.data.split import Dataset
from tests.support.small_clip import random_tensors, small_config, write_clip

CONFIG = small_config(text={"num_hidden_layers": 3}, vision={"num_hidden_layers": 4})


@pytest.fixture(scope="package", autouse=True)
def quick_compilation() -> Iterator[None]:
    """Programs that run once are compiled without most optimisations, in half the time."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="session")
def config() -> dict[str, Any]:
    return CONFIG


@pytest.fixture(scope="session")
def tensors() -> dict[str, np.ndarray]:
    return random_tensors(CONFIG, seed=5)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, np.ndarray]) -> Clip:
    folder: Path = tmp_path_factory.mktemp("clip")
    return load_clip(write_clip(folder, CONFIG, tensors))


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    """Three classes, one with a longer name; letters are this CLIP's tokens."""
    return Dataset(
        name="small",
        train=(),
        val=(),
        test=(),
        classnames=("red_cat", "dog", "fox"),
        template="a picture of {}, tame.",
    )


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    return np.random.default_rng(6).standard_normal((2, 16, 16, 3)).astype(np.float32)
