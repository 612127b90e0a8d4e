"""One short search and training, evaluated, that all tests here predict with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.ExifTags
import PIL.Image
import pytest

from configs import digits
from dpl_jax.data.load import load_dataset
from dpl_jax.evaluate import evaluate
from dpl_jax.inference.classifier import Classifier
from dpl_jax.search import search
from dpl_jax.train import train


@pytest.fixture(scope="package")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of a search and of a training, both evaluated."""
    config = digits.get_config("shots=2,seed=3,T=3")
    config.search.epochs = config.train.epochs = 1
    config.progress, config.report = "off", False
    folder = tmp_path_factory.mktemp("runs")
    searched = search(config, folder / "search")
    trained = train(config, searched / "configuration.json", folder / "train")
    for run in (searched, trained):
        evaluate(run)
    return {"search": searched, "train": trained}


@pytest.fixture(scope="package")
def classifier(runs: dict[str, Path]) -> Classifier:
    return Classifier.load(runs["train"])


@pytest.fixture(scope="package")
def arrays() -> list[np.ndarray]:
    """The digits' test images, (H, W, 3) uint8."""
    dataset = load_dataset(digits.get_config().data)
    return [np.asarray(item.image) for item in dataset.test]


@pytest.fixture
def class_folders(tmp_path: Path, arrays: list[np.ndarray]) -> Path:
    """Train and test images of two classes in files of several kinds, sizes and modes."""
    kinds = [("png", "RGB"), ("jpg", "RGB"), ("webp", "RGB"), ("png", "L"), ("jpg", "CMYK")]
    root = tmp_path / "classes"
    for number, (kind, mode) in enumerate(kinds * 2):
        image = PIL.Image.fromarray(arrays[number]).resize((40 + 7 * number, 50)).convert(mode)
        turned = PIL.Image.Exif()
        turned[PIL.ExifTags.Base.Orientation] = 1 + number % 8
        for split in ("train", "test"):
            folder = root / split / ("left" if number % 2 else "right")
            folder.mkdir(parents=True, exist_ok=True)
            image.save(folder / f"{number}.{kind}", exif=turned)
    return root


@pytest.fixture
def photos(tmp_path: Path, arrays: list[np.ndarray]) -> Path:
    """A folder with ten images, some of them deeper, and what is no image."""
    root = tmp_path / "photos"
    (root / "deep" / "er").mkdir(parents=True)
    for number, pixels in enumerate(arrays[:10]):
        folder = root / "deep" / "er" if number % 2 else root
        PIL.Image.fromarray(pixels).save(folder / f"{number}.png")
    (root / "5-broken.jpg").write_bytes(b"\xff\xd8\xff\xe0junk")
    (root / "notes.txt").write_text("no image")
    (root / ".hidden.png").write_bytes(b"")
    return root
