"""A short training whose classifier the page serves, without and with a network."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from configs import digits
from dpl_jax.data.load import load_dataset
from dpl_jax.inference.classifier import Classifier
from dpl_jax.train import train

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


@pytest.fixture(scope="package")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Trainings with prompts in both towers, and in the text tower alone."""
    config = digits.get_config("shots=2,seed=3")
    config.train.epochs = 1
    config.progress, config.report = "off", False
    folder = tmp_path_factory.mktemp("runs")
    runs = {}
    for name, lengths in (("image", [2, 2, 2, 2]), ("text", [0, 0, 0, 0])):
        file = folder / f"{name}.json"
        file.write_text(f'{{"image": {lengths}, "text": [1, 1, 1]}}')
        runs[name] = train(config, file, folder / name)
    return runs


@pytest.fixture(scope="package")
def classifier(runs: dict[str, Path]) -> Classifier:
    """Its last class has a hostile name, and the same text as before."""
    found = Classifier.load(runs["image"])
    return dataclasses.replace(found, classnames=(*found.classnames[:-1], HOSTILE))


@pytest.fixture(scope="package")
def digit() -> np.ndarray:
    """A test image, (H, W, 3) uint8."""
    return np.asarray(load_dataset(digits.get_config().data).test[0].image)


@pytest.fixture(scope="package")
def png(digit: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(digit).save(buffer, "PNG")
    return buffer.getvalue()
