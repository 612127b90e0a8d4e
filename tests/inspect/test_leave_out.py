"""What prompts are worth, against lengths that are set to zero by hand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import digits
from dpl_jax import load_clip, prompted_logits
from dpl_jax.clip.features import NO_PROMPTS, image_features
from dpl_jax.data.images import read_image
from dpl_jax.data.load import load_dataset
from dpl_jax.data.templates import prompts_for
from dpl_jax.data.transforms import normalise, resize_and_crop
from dpl_jax.inspect.leave_out import LeftOut, Quality, leave_out, measure, without_layers
from dpl_jax.prompts.learned import Discrete, Supernet
from tests.inspect.conftest import Case

LENGTHS = {"image": [2, 0, 1, 3], "text": [1, 2, 0]}


class Digits:
    """The embedded task, with prompts drawn at random."""

    def __init__(self) -> None:
        self.config = digits.get_config()
        self.config.progress = "off"
        self.config.evaluate.batch_size = 12
        self.clip = load_clip("tiny")
        self.dataset = load_dataset(self.config.data)
        self.items = self.dataset.test[::25]  # of all classes
        random = np.random.default_rng(0)
        self.prompts = {
            tower: jnp.asarray(0.3 * random.standard_normal((len(own), 3, width)), jnp.float32)
            for (tower, own), width in zip(LENGTHS.items(), (128, 96), strict=True)
        }

    def by_hand(self, lengths: dict[str, Any]) -> Quality:
        how = self.clip.preprocessing
        pixels = np.stack([resize_and_crop(read_image(item), how) for item in self.items])
        images = normalise(jnp.asarray(pixels), how.mean, how.std)
        ids = self.clip.tokenize(prompts_for(self.dataset.classnames, self.dataset.template))
        lengths = {tower: np.asarray(own) for tower, own in lengths.items()}
        logits = prompted_logits(self.clip, images, ids, self.prompts, lengths)
        labels = np.array([item.label for item in self.items])
        likelihood = jax.nn.softmax(logits)[np.arange(len(labels)), labels]
        right = (np.asarray(logits).argmax(axis=1) == labels).mean()
        return Quality(float(-jnp.log(likelihood).mean()), float(right))


@pytest.fixture(scope="module")
def task() -> Digits:
    return Digits()


@pytest.fixture(scope="module")
def left_out(task: Digits) -> LeftOut:
    prompts = Discrete(task.prompts, LENGTHS).view()
    return leave_out(task.clip, task.dataset, task.items, prompts, task.config)


def test_leaving_out_a_layer_is_setting_its_length_to_zero(task: Digits, left_out: LeftOut) -> None:
    np.testing.assert_allclose(left_out.nothing, task.by_hand(LENGTHS), rtol=1e-4)
    assert {tower: len(layers) for tower, layers in left_out.layer.items()} == {
        "image": 4,
        "text": 3,
    }
    for tower, lengths in LENGTHS.items():
        for layer, length in enumerate(lengths):
            shorter = [0 if other == layer else own for other, own in enumerate(lengths)]
            expected = task.by_hand(LENGTHS | {tower: shorter})
            np.testing.assert_allclose(left_out.layer[tower][layer], expected, rtol=1e-4)
            changed = abs(left_out.layer[tower][layer].loss - left_out.nothing.loss)
            assert changed > 1e-4 if length else changed < 1e-6


def test_leaving_out_a_tower_is_setting_all_its_lengths_to_zero(
    task: Digits, left_out: LeftOut
) -> None:
    for tower, lengths in LENGTHS.items():
        expected = task.by_hand(LENGTHS | {tower: [0] * len(lengths)})
        np.testing.assert_allclose(left_out.tower[tower], expected, rtol=1e-4)


def test_a_supernets_layer_is_left_out_with_all_its_candidates(case: Case) -> None:
    """As if alpha gave all weight to the length 0 there; without any layer it is plain CLIP."""
    prompts = Supernet(case.prompts, case.alphas).view()["image"]
    alphas = case.alphas["image"].copy()
    alphas[1] = [0.0, -np.inf, -np.inf, -np.inf]
    expected = image_features(
        case.clip,
        case.images,
        Supernet(case.prompts, case.alphas | {"image": alphas}).view()["image"],
    )
    found = image_features(case.clip, case.images, without_layers(prompts, [1]))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    found = image_features(case.clip, case.images, without_layers(prompts, range(3)))
    plain = image_features(case.clip, case.images)
    np.testing.assert_allclose(found, plain, rtol=0, atol=1e-5)
    assert np.abs(plain - expected).max() > 0.1
    assert without_layers(NO_PROMPTS["image"], [0]) is None


def test_quality_is_cross_entropy_and_accuracy() -> None:
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]], np.float32))
    found = measure(logits, np.array([0, 1]))
    np.testing.assert_allclose(found, [(np.log(2) + np.log(10)) / 2, 0.5], rtol=1e-6)
