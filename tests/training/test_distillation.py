"""The distillation term: KL(zero-shot CLIP || prompted CLIP) over the class logits."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import rel_entr, softmax

from dpl_jax import Clip, prompted_logits, zero_shot_logits
from dpl_jax.clip.features import text_features
from dpl_jax.clip.texts import prepare_texts
from dpl_jax.prompts.learned import Discrete
from dpl_jax.prompts.trees import init_discrete
from dpl_jax.training.loss import loss_and_accuracy, zero_shot_probabilities

LENGTHS = {"image": np.array([2, 0, 1]), "text": np.array([1, 2])}


@pytest.fixture(scope="module")
def inputs(clip: Clip) -> dict[str, Any]:
    random = np.random.default_rng(1)
    return {
        "images": jnp.asarray(random.standard_normal((3, 16, 16, 3)), jnp.float32),
        "labels": jnp.array([0, 2, 1]),
        "input_ids": clip.tokenize(["a cat", "a dog", "an owl"]),
        "prompts": init_discrete(clip.sizes, LENGTHS, seed=0, scale=1.0),
    }


def loss(clip: Clip, inputs: dict[str, Any], distillation: float) -> float:
    texts = prepare_texts(inputs["input_ids"], clip.sizes.text)
    value, _ = loss_and_accuracy(
        clip,
        inputs["images"],
        inputs["labels"],
        texts,
        Discrete(inputs["prompts"], LENGTHS).view(),
        distillation=distillation,
        teacher_texts=text_features(clip, texts),
    )
    return float(value)


def test_equals_scipy(clip: Clip, inputs: dict[str, Any]) -> None:
    images, input_ids = inputs["images"], inputs["input_ids"]
    teacher = softmax(np.asarray(zero_shot_logits(clip, images, input_ids), np.float64), axis=1)
    logits = np.asarray(
        prompted_logits(clip, images, input_ids, inputs["prompts"], LENGTHS), np.float64
    )
    student = softmax(logits, axis=1)
    divergence = rel_entr(teacher, student).sum(axis=1).mean()
    entropy = -np.log(student[np.arange(3), inputs["labels"]]).mean()
    assert divergence > 0.01
    np.testing.assert_allclose(loss(clip, inputs, 0.0), entropy, rtol=1e-5)
    np.testing.assert_allclose(loss(clip, inputs, 0.7), entropy + 0.7 * divergence, rtol=1e-5)


def test_teacher_gets_no_gradient(clip: Clip, inputs: dict[str, Any]) -> None:
    """Neither the images nor the teacher's texts are learned from through the teacher."""
    texts = text_features(clip, inputs["input_ids"])

    def favour_first(images: jax.Array, texts: jax.Array) -> jax.Array:
        return zero_shot_probabilities(clip, images, texts)[:, 0].sum()

    value, gradients = jax.value_and_grad(favour_first, argnums=(0, 1))(inputs["images"], texts)
    assert 0 < value < 3
    assert all(not np.asarray(gradient).any() for gradient in gradients)
