"""A small CLIP of odd sizes with prompts in both towers, as numbers and as tensors."""

from typing import Any, NamedTuple

import numpy as np
import pytest

from dpl_jax import Clip, load_clip
from tests.support.small_clip import random_tensors, small_config, write_clip

CONFIG = small_config(text={"num_attention_heads": 4, "eos_token_id": 9, "vocab_size": 10})
LAYERS, WIDTHS = {"image": 3, "text": 2}, {"image": 24, "text": 16}
T, ROWS, BATCH = 3, 6, 2


class Case(NamedTuple):
    clip: Clip
    config: dict[str, Any]
    tensors: dict[str, np.ndarray]  # float64
    images: np.ndarray  # (B, H, W, 3)
    input_ids: np.ndarray  # (C, S)
    prompts: dict[str, np.ndarray]  # (N, P, D)
    alphas: dict[str, np.ndarray]  # (N, T + 1)
    lengths: dict[str, np.ndarray]  # (N,), of the first rows of the prompts


@pytest.fixture(scope="session")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    tensors = random_tensors(CONFIG, seed=5)
    clip = load_clip(write_clip(tmp_path_factory.mktemp("clip"), CONFIG, tensors))
    random = np.random.default_rng(6)
    input_ids = random.integers(0, 9, (3, 7))
    input_ids[:, :2] = [8, 3]  # a common prefix
    for row, end in enumerate([3, 6, 5]):
        input_ids[row, end:] = 9
    rows = {tower: (LAYERS[tower], ROWS, WIDTHS[tower]) for tower in LAYERS}
    return Case(
        clip=clip,
        config=CONFIG,
        tensors={name: tensor.astype(np.float64) for name, tensor in tensors.items()},
        images=random.standard_normal((BATCH, 16, 16, 3)).astype(np.float32),
        input_ids=input_ids,
        prompts={
            tower: random.standard_normal(shape).astype(np.float32) for tower, shape in rows.items()
        },
        alphas={
            tower: random.standard_normal((layers, T + 1)).astype(np.float32)
            for tower, layers in LAYERS.items()
        },
        lengths={"image": np.array([2, 0, 5]), "text": np.array([0, 3])},
    )
