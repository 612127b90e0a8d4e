"""What a run reads: the frozen CLIP, the classes' texts, the images."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from flax import struct
from jax.sharding import Mesh
from ml_collections import ConfigDict

from dpl_jax.clip.features import text_features
from dpl_jax.clip.model import Clip, load_configured
from dpl_jax.clip.preprocessing import Preprocessing
from dpl_jax.clip.texts import Texts, prepare_texts
from dpl_jax.config import check_config
from dpl_jax.data.augment import random_crop_flip
from dpl_jax.data.class_names import class_ids
from dpl_jax.data.feed import Feed, ImageSet, chunk_steps, open_feed
from dpl_jax.data.load import load_dataset, sample, tell
from dpl_jax.data.own_split import has_lists, run_dataset, same_source
from dpl_jax.data.split import Dataset
from dpl_jax.data.templates import prompts_for
from dpl_jax.data.transforms import normalise
from dpl_jax.errors import ConfigError
from dpl_jax.runs.folder import read_config
from dpl_jax.runtime.mesh import data_mesh, replicate
from dpl_jax.training.memory import fit_memory

# Normalised images (B, H, W, 3) and labels (B,).
Batch: TypeAlias = tuple[jax.Array, jax.Array]


class Task(struct.PyTreeNode):
    """What the jitted steps need besides the CLIP and their state.

    Attributes:
      train: images that the prompts learn from.
      val: images that alpha learns from (the search), or None (stage 2).
      texts: one for each class.
      teacher_texts: (C, F) zero-shot text features for the distillation.
      preprocessing: size, mean and standard deviation of the images.
    """

    train: ImageSet | None
    val: ImageSet | None
    texts: Texts
    teacher_texts: jax.Array
    preprocessing: Preprocessing = struct.field(pytree_node=False)

    def train_batch(self, indices: jax.Array, key: jax.Array) -> Batch:
        """The train images at ``indices`` (B,), randomly cropped and flipped if they are canvases.

        Args:
          indices: (B,) into ``train``.
          key: typed PRNG key of the step.
        """
        assert self.train is not None  # the loop puts them there
        images = jax.tree.map(lambda leaf: leaf[indices], self.train)
        pixels = images.pixels  # (B, H, W, 3)
        if images.sizes is not None:
            pixels = random_crop_flip(key, pixels, images.sizes, self.preprocessing.crop)
        return self._normalise(pixels), images.labels

    def val_batch(self, indices: jax.Array) -> Batch:
        """The validation images at ``indices`` (B,), never augmented."""
        assert self.val is not None  # only the search asks for them
        images = jax.tree.map(lambda leaf: leaf[indices], self.val)
        return self._normalise(images.pixels), images.labels

    def _normalise(self, pixels: jax.Array) -> jax.Array:
        return normalise(pixels, self.preprocessing.mean, self.preprocessing.std)


class Inputs(NamedTuple):
    """All that a run reads.

    Attributes:
      clip: frozen.
      full: the whole dataset.
      sampled: the few-shot task.
      task: texts, and the images where they are on the device.
      train: where the train images come from.
      val: where the validation images come from; None when there are none.
    """

    clip: Clip
    full: Dataset
    sampled: Dataset
    task: Task
    train: Feed
    val: Feed | None

    def chunks(
        self, order: np.ndarray, val_order: np.ndarray | None = None
    ) -> Iterator[tuple[Any, ...]]:
        """Yields an epoch's steps in chunks: the task with its images, and orders into them.

        Args:
          order: (steps, B) or of members (steps, M, B), which train images each step sees.
          val_order: likewise, of the validation images; None where they are not used.
        """
        if val_order is None:
            for images, indices in self.train.chunks(order, chunk_steps(order, self.train)):
                yield self.task.replace(train=images, val=None), indices
            return
        val = self.need_validation()
        steps = chunk_steps(order, self.train, val)
        both = zip(self.train.chunks(order, steps), val.chunks(val_order, steps), strict=True)
        for (images, indices), (val_images, val_indices) in both:
            yield self.task.replace(train=images, val=val_images), indices, val_indices

    def need_validation(self) -> Feed:
        """The validation images.

        Raises:
          ConfigError: there are none.
        """
        if self.val is None:
            raise ConfigError("A search needs validation images; there are none to hold out.")
        return self.val


def load_inputs(
    config: ConfigDict, *, hold_out: bool, runs: Sequence[str | Path | None] = ()
) -> Inputs:
    """Loads what the config names.

    Args:
      config: see :mod:`dpl_jax.config`.
      runs: the folders of the run itself and of the search that it goes on from, where there are
        such; the first that has a split gives it, whatever the images' folder holds now.
      hold_out: for a dataset without validation images, whether part of the few-shot train images
        becomes validation (the search needs it) or all of them are trained on (stage 2).
    """
    check_config(config)
    full = list_images(config.data, runs)
    tell(full, config)
    sampled = sample(full, config.data, seed=config.seed, hold_out=hold_out)
    return prepare_inputs(config, full, sampled, data_mesh(config.devices))


def list_images(data: ConfigDict, runs: Sequence[str | Path | None]) -> Dataset:
    """The whole dataset, in the split of the first of ``runs`` that reads the same images.

    Raises:
      DataError, RunFolderError: as :func:`dpl_jax.data.load.load_dataset` and ``run_dataset``.
    """
    for run in (Path(each) for each in runs if each is not None):
        if has_lists(run) and same_source(read_config(run).data, data):
            return run_dataset(run, data, mend=True)
    return load_dataset(data)


def prepare_inputs(
    config: ConfigDict, full: Dataset, sampled: Dataset, mesh: Mesh | None = None
) -> Inputs:
    """Loads the CLIP, and opens the few-shot images of ``sampled`` for it.

    Args:
      config: see :mod:`dpl_jax.config`.
      full: the whole dataset.
      sampled: the few-shot task.
      mesh: of the devices that share each batch; None for one device, or for members, which are
        laid over the devices whole (:mod:`dpl_jax.members.states`).
    """
    clip = load_on(mesh, config)
    texts = replicate(class_texts(clip, sampled), mesh)
    preprocessing = clip.preprocessing
    opened = functools.partial(open_feed, preprocessing=preprocessing, data=config.data, mesh=mesh)
    train = opened(sampled.train, augment=True)
    val = opened(sampled.val, augment=False) if sampled.val else None
    task = Task(
        train=train.resident,
        val=val.resident if val else None,
        texts=texts,
        teacher_texts=text_features(clip, texts),
        preprocessing=preprocessing,
    )
    return Inputs(fit_memory(clip, texts, task, config), full, sampled, task, train, val)


def load_on(mesh: Mesh | None, config: ConfigDict) -> Clip:
    """The config's CLIP, whole on every device of the mesh."""
    clip = load_configured(config.clip)
    return clip if mesh is None else clip.replace(params=replicate(clip.params, mesh), mesh=mesh)


def class_texts(clip: Clip, dataset: Dataset) -> Texts:
    """The tokenized texts of the C classes.

    Raises:
      TextTooLongError: naming the class whose text is longer than the text tower.
      ConfigError: naming two classes of one text.
    """
    texts = prompts_for(dataset.classnames, dataset.template)
    ids = class_ids(clip.tokenize, dataset.classnames, texts, same_names=dataset.same_names)
    return prepare_texts(ids, clip.sizes.text)
