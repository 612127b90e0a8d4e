"""The images and texts of a run, as arrays on the device."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from ml_collections import ConfigDict

from dpl_jax.clip.model import Clip, load_clip
from dpl_jax.clip.texts import Texts, prepare_texts
from dpl_jax.config import check_config
from dpl_jax.data.decode import decode
from dpl_jax.data.load import load_dataset, sample
from dpl_jax.data.split import Dataset, Item
from dpl_jax.data.templates import prompts_for
from dpl_jax.data.transforms import Preprocessing, normalise, read_preprocessing
from dpl_jax.logits import text_features

# Normalised images (B, H, W, 3) and labels (B,).
Batch = tuple[jax.Array, jax.Array]


class ImageSet(struct.PyTreeNode):
    """Labelled images, decoded once and kept on the device.

    Attributes:
      pixels: (n, H, W, 3) uint8.
      labels: (n,) int32.
    """

    pixels: jax.Array
    labels: jax.Array

    def __len__(self) -> int:
        return self.labels.shape[0]


class Task(struct.PyTreeNode):
    """What the jitted steps need besides the CLIP and their state.

    Attributes:
      train: images that the prompts learn from.
      val: images that alpha learns from (the search), or None (stage 2).
      texts: one for each class.
      teacher_texts: (C, F) zero-shot text features for the distillation.
      preprocessing: size, mean and standard deviation of the images.
    """

    train: ImageSet
    val: ImageSet | None
    texts: Texts
    teacher_texts: jax.Array
    preprocessing: Preprocessing = struct.field(pytree_node=False)

    def train_batch(self, indices: jax.Array) -> Batch:
        """The train images at ``indices`` (B,)."""
        return self._batch(self.train, indices)

    def val_batch(self, indices: jax.Array) -> Batch:
        """The validation images at ``indices`` (B,)."""
        assert self.val is not None  # only the search has them and asks for them
        return self._batch(self.val, indices)

    def _batch(self, images: ImageSet, indices: jax.Array) -> Batch:
        mean, std = self.preprocessing.mean, self.preprocessing.std
        return normalise(images.pixels[indices], mean, std), images.labels[indices]


class Inputs(NamedTuple):
    """All that a run reads: the frozen CLIP, the dataset whole and sampled, and its arrays."""

    clip: Clip
    full: Dataset
    sampled: Dataset
    task: Task


def load_inputs(config: ConfigDict, *, hold_out: bool) -> Inputs:
    """Loads what the config names.

    Args:
      config: see :mod:`dpl_jax.config`.
      hold_out: for a dataset without validation images, whether part of the few-shot train images
        becomes validation (the search needs it) or all of them are trained on (stage 2).
    """
    check_config(config)
    clip = load_clip(config.clip.path, config.clip.dtype, config.clip.revision or None)
    full = load_dataset(config.data)
    sampled = sample(full, config.data, seed=config.seed, hold_out=hold_out)
    return Inputs(clip, full, sampled, build_task(clip, sampled, config.data))


def build_task(clip: Clip, dataset: Dataset, data: ConfigDict) -> Task:
    """Decodes the few-shot images of ``dataset`` and tokenizes its classes.

    Args:
      clip: a frozen CLIP.
      dataset: already sampled, see :func:`dpl_jax.data.load.sample`.
      data: ``config.data``.
    """
    preprocessing = clip_preprocessing(clip)
    texts = class_texts(clip, dataset)
    return Task(
        train=_image_set(dataset.train, preprocessing, data),
        val=_image_set(dataset.val, preprocessing, data) if dataset.val else None,
        texts=texts,
        teacher_texts=text_features(clip, texts),
        preprocessing=preprocessing,
    )


def clip_preprocessing(clip: Clip) -> Preprocessing:
    """How the CLIP wants its images."""
    return read_preprocessing(Path(clip.folder), clip.config.vision.image_size)


def class_texts(clip: Clip, dataset: Dataset) -> Texts:
    """The tokenized texts of the C classes.

    Raises:
      TextTooLongError: naming the text that is longer than the text tower.
    """
    texts = prompts_for(dataset.classnames, dataset.template)
    return prepare_texts(clip.tokenize(texts), clip.config.text)


def _image_set(items: tuple[Item, ...], preprocessing: Preprocessing, data: ConfigDict) -> ImageSet:
    pixels, labels = decode(
        items,
        preprocessing,
        skip_unreadable=data.skip_unreadable,
        max_pixels=data.max_pixels,
        workers=data.workers,
    )
    return ImageSet(jnp.asarray(pixels), jnp.asarray(labels))
