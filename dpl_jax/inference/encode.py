"""Images encoded and classified by a frozen CLIP, read ahead in batches."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dpl_jax.clip.features import TowerPrompts, class_logits, image_features, text_features
from dpl_jax.clip.model import Clip
from dpl_jax.data.images import Reading
from dpl_jax.data.split import Dataset, Item
from dpl_jax.data.stream import evaluation_batches
from dpl_jax.data.transforms import normalise
from dpl_jax.runtime.processes import gather_parts, is_first, own_part
from dpl_jax.runtime.progress import progress
from dpl_jax.training.inputs import class_texts

# Normalised images (B, H, W, 3) to features (B, F).
Encoder = Callable[[jax.Array], jax.Array]


class Encoded(NamedTuple):
    """Features of the images that could be read.

    Attributes:
      features: (n, F) of each encoder, float32, not normalised.
      labels: (n,).
      read: (items,) bool; an unreadable image that was skipped has False, and no features.
    """

    features: dict[str, np.ndarray]
    labels: np.ndarray
    read: np.ndarray


class Predicted(NamedTuple):
    """Class logits (n, C) of each method; else as :class:`Encoded`."""

    logits: dict[str, np.ndarray]
    labels: np.ndarray
    read: np.ndarray


def predict(
    clip: Clip,
    dataset: Dataset,
    items: Sequence[Item],
    methods: Mapping[str, TowerPrompts],
    config: ConfigDict,
) -> Predicted:
    """Class logits of several prompts in one pass over the images, read ahead in batches.

    Args:
      clip: a frozen CLIP.
      dataset: for its classes and template.
      items: images to classify.
      methods: the prompts of each method by its name.
      config: of the run.
    """
    classes = class_texts(clip, dataset)
    encoders = {
        name: functools.partial(image_features, clip, prompts=method["image"])
        for name, method in methods.items()
    }
    encoded = encode(clip, items, encoders, config)
    scale, logits = clip.params["logit_scale"], {}
    for name, method in methods.items():
        texts = text_features(clip, classes, method["text"])  # (C, F)
        features = jnp.asarray(encoded.features[name])  # (n, F)
        logits[name] = np.asarray(class_logits(features, texts, scale))
    return Predicted(logits, encoded.labels, encoded.read)


def encode(
    clip: Clip, items: Sequence[Item], encoders: Mapping[str, Encoder], config: ConfigDict
) -> Encoded:
    """Image features by several encoders in one pass over the images, read ahead in batches.

    Of several processes each reads and encodes its part of the images, and all get the whole.

    Args:
      clip: a frozen CLIP, for its test transform.
      items: images.
      encoders: by name.
      config: of the run.
    """
    preprocessing = clip.preprocessing
    features: dict[str, list[np.ndarray]] = {name: [] for name in encoders}
    labels: list[np.ndarray] = []
    reads: list[np.ndarray] = []
    data, own = config.data, items[own_part(len(items))]
    size = max(min(config.evaluate.batch_size, len(own)), 1)
    with progress(len(own), "evaluate", config.progress if is_first() else "off") as bar:
        for batch in evaluation_batches(own, preprocessing, size, Reading.of(data)):
            read = batch.weights > 0  # (B,)
            images = normalise(jnp.asarray(batch.images), preprocessing.mean, preprocessing.std)
            for name, encoder in encoders.items():
                features[name].append(np.asarray(encoder(images))[read])
            labels.append(batch.labels[read])
            reads.append(read)
            bar.update(min(len(labels) * size, len(own)))
    joined = {name: np.concatenate(batches) for name, batches in features.items()}
    joined, of_read = gather_parts((joined, np.concatenate(labels)), len(items))
    return Encoded(joined, of_read, gather_parts(np.concatenate(reads)[: len(own)], len(items)))
