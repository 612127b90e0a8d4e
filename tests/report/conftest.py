"""Runs made by hand, whose numbers are known and whose names are hostile."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from configs import digits, folder
from dpl_jax.files.json import write_json
from dpl_jax.runs.folder import open_run
from dpl_jax.runs.metrics import append_metrics
from dpl_jax.runs.predictions import Predictions, save_predictions

IMG = "<img src=x onerror=\"document.title='owned'\">"
SCRIPT = "<script>document.title='owned'</script>"
# A folder cannot have a slash in its name, so its script is left open.
OPEN = "owl $x$ {{ 7 * 7 }} <script>document.title='owned'"
FOLDERS = (IMG, OPEN, "zebra")
CLASSNAMES = (IMG, OPEN, SCRIPT)
# Label, and probabilities by DPL: 4 of 6 are right; the last image is the most wrong, then image 1.
PROBABILITIES = (
    (0, (0.9, 0.05, 0.05)),
    (0, (0.2, 0.7, 0.1)),
    (1, (0.1, 0.8, 0.1)),
    (1, (0.05, 0.9, 0.05)),
    (2, (0.1, 0.3, 0.6)),
    (2, (0.95, 0.04, 0.01)),
)
COLOURS = ((200, 20, 20), (20, 200, 20), (20, 20, 200), (200, 200, 20), (20, 200, 200), (90, 0, 90))
SCORES = {
    "images": 6,
    "sha256": "0" * 64,
    "zero_shot": {"accuracy": 1 / 6, "macro_f1": 0.1234, "calibration_error": 0.5678},
    "dpl": {"accuracy": 4 / 6, "macro_f1": 0.4321, "calibration_error": 0.0876},
}
WEIGHTS = {"image": [[0.1, 0.2, 0.7], [0.55, 0.25, 0.2]], "text": [[0.04, 0.9, 0.06]]}
LENGTHS = {"image": [2, 0], "text": [1]}


def image_names() -> list[str]:
    """Of the test images: one file of each class has a hostile name too."""
    files = [f"0{IMG}.png", "1.png"]
    return [f"test/{name}/{file}" for name in FOLDERS for file in files]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of images in the layout of configs/folder.py."""
    root = tmp_path / "photos"
    for name, colour in zip(image_names(), COLOURS, strict=True):
        for path in (root / name, root / name.replace("test/", "train/", 1)):
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.new("RGB", (300, 200), colour).save(path)
    for split in ("train", "test"):
        assert len(list((root / split).iterdir())) == 3
    (root / "classnames.json").write_text(json.dumps({"zebra": SCRIPT}))
    return root


def predictions_of(photos: Path) -> Predictions:
    config = folder.get_config("shots=2")
    config.data.root = str(photos)
    dpl = np.log([row for _, row in PROBABILITIES]).astype(np.float32)
    zero_shot = np.zeros((6, 3), np.float32)
    zero_shot[:, 1] = 1.0
    return Predictions(
        dataset="folder",
        split="test",
        data=config.data.to_dict(),
        classnames=CLASSNAMES,
        names=tuple(image_names()),
        labels=np.array([label for label, _ in PROBABILITIES], np.int32),
        logits={"zero_shot": zero_shot, "dpl": dpl},
    )


@pytest.fixture
def trained(photos: Path, tmp_path: Path) -> Path:
    """A finished and evaluated training on a folder of images."""
    config = folder.get_config("shots=2,seed=7")
    config.data.root = str(photos)
    with open_run(tmp_path / "train-run", "train", config) as run:
        append_metrics(
            run,
            [
                {"step": 5 * n, "epoch": n, "train_loss": 1 / n, "train_accuracy": 1 - 0.5 / n}
                for n in (1, 2, 3)
            ],
        )
        write_json(run.configuration, {"lengths": LENGTHS, "prompt_tokens": 3})
        write_json(run.path / "sampled.json", {"classnames": list(CLASSNAMES)})
        write_json(run.results, {"kind": "train", "evaluations": {"test": SCORES}})
        save_predictions(run.path / "predictions" / "test.npz", predictions_of(photos))
    return run.path


@pytest.fixture
def searched(tmp_path: Path) -> Path:
    """A finished search of two image layers and one text layer, T = 2, on the digits."""
    config = digits.get_config("shots=4,seed=3,T=2")
    even = {tower: [[1 / 3] * 3] * len(rows) for tower, rows in WEIGHTS.items()}
    with open_run(tmp_path / "search-run", "search", config) as run:
        for epoch, weights in ((1, even), (2, WEIGHTS)):
            row = {"step": epoch, "epoch": epoch, "lengths": LENGTHS, "weights": weights}
            for split in ("train", "val"):
                row |= {f"{split}_loss": 0.5, f"{split}_accuracy": 0.8125}
            append_metrics(run, [row])
        write_json(run.configuration, {"lengths": LENGTHS, "weights": WEIGHTS, "prompt_tokens": 3})
        write_json(run.path / "sampled.json", {"classnames": [str(n) for n in range(10)]})
        write_json(run.results, {"kind": "search", "lengths": LENGTHS})
    return run.path
