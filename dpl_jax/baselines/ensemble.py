"""Zero-shot CLIP with several templates."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from dpl_jax.clip.features import text_features, to_length_one
from dpl_jax.clip.model import Clip
from dpl_jax.data.split import Dataset
from dpl_jax.errors import ConfigError
from dpl_jax.training.inputs import class_texts

# The 7 of the 80 ImageNet templates that CLIP's authors found to do as well as all together
# (github.com/openai/CLIP, notebooks/Prompt_Engineering_for_ImageNet.ipynb).
IMAGENET_TEMPLATES = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)


def ensemble_templates(dataset: Dataset) -> tuple[str, ...]:
    """The 7 templates of ImageNet and the dataset's own, as in CoOp's ``ZeroshotCLIP2``."""
    return (*IMAGENET_TEMPLATES, dataset.template)


def ensemble_text_features(clip: Clip, dataset: Dataset, templates: Sequence[str]) -> jax.Array:
    """The mean of the templates' normalised text features, normalised (C, F).

    Radford et al. (2021, section 3.1.4) average in the embedding space, so that an ensemble costs
    as much as one template once the classes are encoded.

    Args:
      clip: a frozen CLIP.
      dataset: for its classes.
      templates: at least one, each with ``{}`` where the class name goes.

    Raises:
      ConfigError: without templates.
      TextTooLongError: naming the text that is longer than the text tower.
    """
    if not templates:
        raise ConfigError("An ensemble needs at least one template.")
    variants = [dataclasses.replace(dataset, template=template) for template in templates]
    features = [to_length_one(text_features(clip, class_texts(clip, each))) for each in variants]
    return to_length_one(jnp.stack(features).mean(axis=0))
