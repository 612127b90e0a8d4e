import dataclasses

import numpy as np
import pytest

from dpl_jax import Clip, zero_shot_logits
from dpl_jax.baselines.ensemble import (
    IMAGENET_TEMPLATES,
    ensemble_templates,
    ensemble_text_features,
)
from dpl_jax.clip.features import class_logits, image_features, text_features
from dpl_jax.data.split import Dataset
from dpl_jax.data.templates import prompts_for
from dpl_jax.errors import ConfigError

TEMPLATES = ("a {}.", "the small {}.", "art of {}.")


def test_one_template_is_zero_shot(clip: Clip, dataset: Dataset, images: np.ndarray) -> None:
    text = ensemble_text_features(clip, dataset, [dataset.template])
    found = class_logits(image_features(clip, images), text, clip.params["logit_scale"])
    ids = clip.tokenize(prompts_for(dataset.classnames, dataset.template))
    np.testing.assert_allclose(found, zero_shot_logits(clip, images, ids), atol=1e-5)


def test_mean_of_unit_vectors_written_out(clip: Clip, dataset: Dataset) -> None:
    found = ensemble_text_features(clip, dataset, TEMPLATES)
    for label, name in enumerate(("red cat", "dog", "fox")):
        ids = clip.tokenize([*(template.replace("{}", name) for template in TEMPLATES), "a" * 30])
        mean = np.zeros(12)
        for feature in np.asarray(text_features(clip, ids)[:3], np.float64):
            mean += feature / np.sqrt((feature**2).sum())
        np.testing.assert_allclose(found[label], mean / np.sqrt((mean**2).sum()), atol=1e-5)


def test_order_does_not_matter(clip: Clip, dataset: Dataset) -> None:
    np.testing.assert_allclose(
        ensemble_text_features(clip, dataset, TEMPLATES),
        ensemble_text_features(clip, dataset, TEMPLATES[::-1]),
        atol=1e-6,
    )


def test_the_datasets_own_template_is_the_eighth(dataset: Dataset) -> None:
    own = dataclasses.replace(dataset, template="{} texture.")
    assert ensemble_templates(own) == (*IMAGENET_TEMPLATES, "{} texture.")
    assert len(set(IMAGENET_TEMPLATES)) == 7


def test_no_templates_are_refused(clip: Clip, dataset: Dataset) -> None:
    with pytest.raises(ConfigError, match="at least one template"):
        ensemble_text_features(clip, dataset, [])
