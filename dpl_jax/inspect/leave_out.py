"""What a layer's prompts are worth: loss and accuracy when they alone are left out."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import scipy.special
from ml_collections import ConfigDict

from dpl_jax.clip.attention import LayerPrompts
from dpl_jax.clip.features import TowerPrompts, class_logits, image_features, text_features
from dpl_jax.clip.model import Clip
from dpl_jax.data.split import Dataset, Item
from dpl_jax.inference.encode import encode
from dpl_jax.prompts.trees import TOWERS
from dpl_jax.training.inputs import class_texts


class Quality(NamedTuple):
    """Mean cross-entropy in nats, and accuracy, 0 to 1, on the same images."""

    loss: float
    accuracy: float


class LeftOut(NamedTuple):
    """How well images are classified with prompts left out.

    Attributes:
      nothing: with all prompts.
      tower: with none in one tower, {"image": .., "text": ..}.
      layer: with none in one layer, N of each tower.
    """

    nothing: Quality
    tower: dict[str, Quality]
    layer: dict[str, list[Quality]]


def without_layers(prompts: LayerPrompts | None, layers: Iterable[int]) -> LayerPrompts | None:
    """One tower's prompts, with length 0 in some of the ``layers`` 0 .. N-1.

    Of a supernet it takes all candidates of the layer.
    """
    if prompts is None:
        return None
    mask = prompts.mask
    if mask is None:
        mask = jnp.ones(prompts.rows.shape[:2], bool)  # (N, P)
    return prompts.replace(mask=mask.at[jnp.asarray(list(layers), int)].set(False))


def leave_out(
    clip: Clip,
    dataset: Dataset,
    items: Sequence[Item],
    prompts: TowerPrompts,
    config: ConfigDict,
) -> LeftOut:
    """Classifies ``items`` with all prompts, and with those of each layer and tower left out.

    Nothing is trained again: the rest of the prompts was trained together with what is missing.

    Args:
      clip: a frozen CLIP.
      dataset: for its classes and template.
      items: images to classify, all of them in one pass.
      prompts: of both towers, as :func:`dpl_jax.inference.trained.load_trained` gives them.
      config: of the run.
    """
    image, text = (_variants(prompts[tower], clip.sizes.layers[tower]) for tower in TOWERS)
    encoders = {
        name: functools.partial(image_features, clip, prompts=own) for name, own in image.items()
    }
    encoded = encode(clip, items, encoders, config)
    classes = class_texts(clip, dataset)
    texts = {name: text_features(clip, classes, own) for name, own in text.items()}  # (C, F) each

    def quality(image: str, text: str) -> Quality:
        features = jnp.asarray(encoded.features[image])  # (n, F)
        logits = class_logits(features, texts[text], clip.params["logit_scale"])
        return measure(np.asarray(logits), encoded.labels)

    found = {
        "image": {name: quality(name, "nothing") for name in image},
        "text": {name: quality("nothing", name) for name in text},
    }
    return LeftOut(
        nothing=found["image"]["nothing"],
        tower={tower: found[tower]["tower"] for tower in TOWERS},
        layer={
            tower: [found[tower][str(layer)] for layer in range(clip.sizes.layers[tower])]
            for tower in TOWERS
        },
    )


def measure(logits: np.ndarray, labels: np.ndarray) -> Quality:
    """The quality of logits (n, C) for labels (n,)."""
    logarithms = scipy.special.log_softmax(logits.astype(np.float64), axis=-1)
    own = np.take_along_axis(logarithms, labels[:, None], axis=-1)  # (n, 1)
    return Quality(float(-own.mean()), float((logits.argmax(axis=-1) == labels).mean()))


def _variants(prompts: LayerPrompts | None, layers: int) -> dict[str, LayerPrompts | None]:
    """One tower's prompts without nothing, without any, and without each layer's, by name."""
    left_out = {"nothing": [], "tower": list(range(layers))}
    left_out |= {str(layer): [layer] for layer in range(layers)}
    return {name: without_layers(prompts, own) for name, own in left_out.items()}
