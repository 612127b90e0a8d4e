"""Classifiers of frozen CLIP features: zero-shot, ensemble, linear probe, Tip-Adapter."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dpl_jax.baselines.ensemble import ensemble_templates, ensemble_text_features
from dpl_jax.baselines.linear_probe import fit_linear_probe, linear_probe
from dpl_jax.baselines.tip_adapter import (
    build_cache,
    search_alpha_beta,
    tip_adapter_logits,
    train_keys,
)
from dpl_jax.clip.features import class_logits, image_features, text_features
from dpl_jax.clip.model import Clip
from dpl_jax.data.split import Dataset, Item
from dpl_jax.inference.encode import encode
from dpl_jax.training.inputs import class_texts


class Features(NamedTuple):
    """Frozen features (n, F) and labels (n,) of one set of images."""

    features: np.ndarray
    labels: np.ndarray


class Seen(NamedTuple):
    """What a classifier of one seed is made from: all shots, and the part with validation images.

    Attributes:
      shots: the few-shot train images.
      train: the same without those held out for validation, where a dataset has no own.
      val: validation images.
    """

    shots: Features
    train: Features
    val: Features


class Classified(NamedTuple):
    """Logits (n, C) of the test images, and how many numbers were learned for them."""

    logits: np.ndarray
    parameters: int


def frozen_features(clip: Clip, items: tuple[Item, ...], config: ConfigDict) -> Features:
    """Features of plain CLIP, of the images as they are tested: no crops, no flips."""
    encoded = encode(clip, items, {"": functools.partial(image_features, clip)}, config)
    return Features(encoded.features[""], encoded.labels)


def classify(
    name: str, clip: Clip, dataset: Dataset, seen: Seen, test: Features, seed: int
) -> Classified:
    """Test logits of the method ``name`` of :data:`dpl_jax.studies.comparison.catalogue.FEATURES`.

    Args:
      name: of the method.
      clip: frozen.
      dataset: for its classes and template.
      seen: what the seed may learn from.
      test: the images to classify.
      seed: of the run.
    """
    if name == "linear_probe":
        return _linear_probe(seen, test)
    if name == "ensemble":
        texts = ensemble_text_features(clip, dataset, ensemble_templates(dataset))
    else:
        texts = text_features(clip, class_texts(clip, dataset))  # (C, F)
    zero_shot = functools.partial(
        class_logits, text_features=texts, logit_scale=clip.params["logit_scale"]
    )
    if name in ("zero_shot", "ensemble"):
        return Classified(np.asarray(zero_shot(jnp.asarray(test.features))), 0)
    shots, val = seen.shots, seen.val
    cache = build_cache(shots.features, shots.labels, len(dataset.classnames))
    parameters = 0
    if name == "tip_adapter_f":
        cache = train_keys(cache, *_with_logits(shots, zero_shot), seed)
        parameters = cache.keys.size
    alpha, beta = search_alpha_beta(cache, *_with_logits(val, zero_shot))
    features, _, logits = _with_logits(test, zero_shot)
    return Classified(
        np.asarray(tip_adapter_logits(cache, features, logits, alpha, beta)), parameters
    )


def _linear_probe(seen: Seen, test: Features) -> Classified:
    """Regularisation chosen with the validation images, then fitted to all shots."""
    strength = linear_probe(*seen.train, *seen.val).strength
    probe = fit_linear_probe(*seen.shots, strength)
    return Classified(probe.logits(test.features), probe.weight.size + probe.bias.size)


def _with_logits(
    images: Features, zero_shot: Callable[[jax.Array], jax.Array]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Features (n, F), labels (n,) and zero-shot logits (n, C), on the device."""
    features = jnp.asarray(images.features)
    return features, jnp.asarray(images.labels), zero_shot(features)
