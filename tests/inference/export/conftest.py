"""Classifiers with prompts of every kind, made without training, and images for them."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import jax
import numpy as np
import PIL.Image
import pytest

from dpl_jax import load_clip
from dpl_jax.data.templates import prompts_for
from dpl_jax.inference.classifier import Classifier, encode_texts
from dpl_jax.prompts.learned import Discrete, Learned, Supernet
from dpl_jax.prompts.trees import init_discrete, init_supernet
from dpl_jax.runs.folder import versions
from dpl_jax.runs.results import weights_sha256

CLASSNAMES = ("zero", "one", "two <b>")
TEMPLATE = "a photo of the digit {}."


@functools.cache
def classifier_with(kind: str) -> Classifier:
    """One with "discrete" prompts, also in "bfloat16", with a "supernet" or with "no prompts"."""
    clip = load_clip("tiny", "bfloat16" if kind == "bfloat16" else "float32")
    lengths = {"image": np.array([2, 0, 1, 3]), "text": np.array([1, 0, 4])}
    if kind == "no prompts":
        lengths = jax.tree.map(np.zeros_like, lengths)
    learned: Learned = Discrete(init_discrete(clip.sizes, lengths, 0, 0.05), lengths)
    if kind == "supernet":
        prompts, alphas = init_supernet(clip.sizes, 3, 0, {"image": 0.05, "text": 0.05})
        learned = Supernet(prompts, jax.tree.map(lambda leaf: 1e3 * leaf, alphas))
    texts = tuple(prompts_for(CLASSNAMES, TEMPLATE))
    preprocessing = clip.preprocessing
    weights = {"path": "tiny", "revision": "", "sha256": weights_sha256(clip.folder)}
    results = {
        "dataset": "digits",
        "shots": 1,
        "seed": 1,
        "lengths": lengths,
        "transform": dataclasses.asdict(preprocessing),
        "clip": weights | {"dtype": clip.dtype},
        "versions": versions(),
    }
    return Classifier(
        clip=clip,
        learned=learned,
        template=TEMPLATE,
        classnames=CLASSNAMES,
        texts=texts,
        features=encode_texts(clip, learned.view(), texts),
        preprocessing=preprocessing,
        results=results,
    )


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """(7, H, W, 3) uint8, of the size that the model takes."""
    return np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo on its side, neither square nor of the model's size."""
    colours = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = PIL.Image.fromarray(colours).resize((91, 67), PIL.Image.Resampling.BICUBIC)
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned by a quarter
    path = tmp_path_factory.mktemp("photos") / "photo.jpg"
    image.save(path, exif=exif)
    return path
