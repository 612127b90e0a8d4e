"""The golden case in the files that the released PyTorch code would have written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict
from safetensors.numpy import save_file

from configs import digits

GOLDEN = Path(__file__).parents[1] / "golden" / "supernet_a"
Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="session")
def golden() -> Arrays:
    with np.load(GOLDEN / "golden.npz") as file:
        return dict(file)


@pytest.fixture(scope="session")
def config() -> ConfigDict:
    """Settings of the released runs, for no test to change."""
    config = digits.get_config("shots=1,T=4")
    config.clip.path = str(GOLDEN)
    config.report = False
    return config


def supernet_tensors(golden: Arrays) -> Arrays:
    """Candidate m of a layer is number m - 1 of its list."""
    tensors = {}
    for short, tower, layers in (("img", "image", 4), ("txt", "text", 3)):
        for layer in range(layers):
            rows = golden[f"init_prompt_{tower}_layer{layer}"]  # 1 + 2 + 3 + 4 rows
            name = f"prompt_learner.ctx_{short}_lst.{layer}"
            tensors[f"{name}.0"] = rows[0:1]
            tensors[f"{name}.1"] = rows[1:3]
            tensors[f"{name}.2"] = rows[3:6]
            tensors[f"{name}.3"] = rows[6:10]
    return tensors


def stage2_tensors(golden: Arrays) -> Arrays:
    return {
        f"prompt_learner.ctx_{short}_lst.{layer}": golden[f"stage2_prompt_{tower}_layer{layer}"]
        for short, tower, layers in (("img", "image", 4), ("txt", "text", 3))
        for layer in range(layers)
    }


@pytest.fixture(scope="session")
def released(golden: Arrays, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search's output folder, with the prompts of both stages as safetensors."""
    folder = tmp_path_factory.mktemp("released")
    for epoch in (0, 9, 60):
        sign = 1 if epoch == 60 else -1  # other epochs choose other lengths
        np.save(folder / f"alpha_e{epoch}_txt.npy", sign * golden["init_alpha_image"])
        np.save(folder / f"alpha_e{epoch}_img.npy", sign * golden["init_alpha_text"])
    save_file(supernet_tensors(golden), folder / "supernet.safetensors")
    frozen = {"logit_scale": np.ones(1, np.float32), "image_encoder.proj": np.eye(3)}
    frozen["prompt_learner.ZS_image.proj"] = np.eye(3)
    save_file(stage2_tensors(golden) | frozen, folder / "stage2.safetensors")
    return folder
