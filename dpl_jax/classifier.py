"""A trained run as one object that classifies images: ``Classifier.load(RUN).predict(images)``."""

from __future__ import annotations

import collections
import dataclasses
import functools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image

from dpl_jax.clip.model import Clip
from dpl_jax.clip.texts import prepare_texts
from dpl_jax.data.images import read_image, to_rgb, upright
from dpl_jax.data.split import Item
from dpl_jax.data.templates import check_template, prompts_for
from dpl_jax.data.transforms import Preprocessing, normalise, resize_and_crop
from dpl_jax.errors import ConfigError, RunFolderError
from dpl_jax.evaluate import as_prompts, load_trained
from dpl_jax.export.folder import check_weights, is_export, read_export
from dpl_jax.json_files import read_json
from dpl_jax.logits import TowerPrompts, class_logits, image_features, text_features
from dpl_jax.task import clip_preprocessing

Picture: TypeAlias = str | os.PathLike[str] | PIL.Image.Image | np.ndarray
PICTURES = (str, os.PathLike, PIL.Image.Image)


class Guess(NamedTuple):
    """A class that an image may be of, and its probability, 0 to 1."""

    classname: str
    probability: float


@dataclasses.dataclass(frozen=True, eq=False)
class Classifier:
    """A frozen CLIP, learned prompts, and the classes to choose from. Nothing in it changes.

    Attributes:
      clip: frozen.
      params: of the prompts, as :func:`dpl_jax.evaluate.as_prompts` takes them.
      template: of the texts, with {} for the class name.
      classnames: the C classes.
      features: (C, F) text features of the classes, computed once.
      preprocessing: how an image becomes the model's input.
      results: of the run that trained the prompts, see docs/results-format.md.
      batch_size: images at a time.
    """

    clip: Clip
    params: Mapping[str, Any]
    template: str
    classnames: tuple[str, ...]
    features: np.ndarray
    preprocessing: Preprocessing
    results: Mapping[str, Any]
    batch_size: int = 32

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Loads a finished run, or what :func:`dpl_jax.export.folder.export` wrote of one.

        Raises:
          RunFolderError: when it is neither.
          CheckpointError: when the run has no good checkpoint.
          WeightsError: when its CLIP cannot be found, or is not the one that it was trained with.
        """
        folder = Path(folder)
        if is_export(folder):
            found = read_export(folder)
            preprocessing = clip_preprocessing(found.clip)
            return cls(**found._asdict(), preprocessing=preprocessing)
        trained = load_trained(folder)
        results = read_json(folder / "results.json")
        check_weights(trained.clip, results["clip"]["sha256"])
        classnames, template = read_classes(folder, results)
        return cls(
            clip=trained.clip,
            params=trained.params,
            template=template,
            classnames=classnames,
            features=encode_classes(trained.clip, trained.prompts, classnames, template),
            preprocessing=clip_preprocessing(trained.clip),
            results=results,
        )

    @functools.cached_property
    def prompts(self) -> TowerPrompts:
        """Both towers' view of the prompts."""
        return as_prompts(self.params)

    def with_classes(self, classnames: Sequence[str], template: str | None = None) -> Self:
        """The same prompts with another label set: they do not depend on the classes.

        Args:
          classnames: at least one, all different.
          template: with {} for the class name; None for the one it was trained with.

        Raises:
          ConfigError: for no classes, or one that is given twice.
          TextTooLongError: for a text that is longer than the text tower.
        """
        classnames = check_classnames(classnames)
        template = check_template(template or self.template)
        features = encode_classes(self.clip, self.prompts, classnames, template)
        return dataclasses.replace(
            self, classnames=classnames, template=template, features=features
        )

    def renamed(self, names: Mapping[str, str]) -> Self:
        """With other names for some classes, which are also what the text tower reads.

        Raises:
          ConfigError: for a name that is no class.
        """
        if unknown := sorted(set(names) - set(self.classnames)):
            raise ConfigError(
                f"{unknown[0]!r} is none of the classes: {', '.join(self.classnames)}."
            )
        return self.with_classes([names.get(old, old) for old in self.classnames])

    def predict(self, images: Picture | Iterable[Picture], top_k: int = 5) -> list[list[Guess]]:
        """The likeliest classes of each image, the likeliest first.

        Args:
          images: one or several: paths, Pillow images, or arrays (H, W, 3) uint8.
          top_k: so many classes, or all where there are fewer.

        Raises:
          UnreadableImageError: for a file that is no image.
        """
        return [self.guesses(row, top_k) for row in self.probabilities(images)]

    def guesses(self, probabilities: np.ndarray, top_k: int) -> list[Guess]:
        """The ``top_k`` likeliest classes, from probabilities (C,)."""
        if top_k < 1:
            raise ConfigError(f"top_k is {top_k}; it must be at least 1.")
        order = np.argsort(-probabilities, kind="stable")[:top_k]
        return [Guess(self.classnames[index], float(probabilities[index])) for index in order]

    def probabilities(self, images: Picture | Iterable[Picture]) -> np.ndarray:
        """Probabilities (n, C) float32 of each image's classes; see :meth:`predict`."""
        return np.asarray(jax.nn.softmax(self.logits(images), axis=-1))

    def logits(self, images: Picture | Iterable[Picture]) -> np.ndarray:
        """Class logits (n, C) float32; see :meth:`predict`."""
        if isinstance(images, PICTURES) or (isinstance(images, np.ndarray) and images.ndim == 3):
            images = [images]
        pixels = (self.pixels(image) for image in images)
        parts = [self.logits_of_pixels(batch) for batch in _batched(pixels, self.batch_size)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.classnames)), np.float32)

    def logits_of_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """Class logits (n, C) of at most ``batch_size`` images (n, H, W, 3) that are ready.

        One image alone has a program of its own; other numbers are filled up to a whole batch.
        """
        count = len(pixels)
        filling = 0 if count == 1 else self.batch_size - count
        padded = np.pad(pixels, ((0, filling), (0, 0), (0, 0), (0, 0)))  # (B, H, W, 3)
        mean, std = self.preprocessing.mean, self.preprocessing.std
        images = normalise(jnp.asarray(padded), mean, std)
        features = image_features(self.clip, images, self.prompts["image"])  # (B, F)
        scale = self.clip.params["logit_scale"]
        return np.asarray(class_logits(features, jnp.asarray(self.features), scale))[:count]

    def pixels(self, image: Picture) -> np.ndarray:
        """An image through the test transform: (H, W, 3) uint8 of the model's size."""
        if isinstance(image, PIL.Image.Image):
            return resize_and_crop(to_rgb(upright(image)), self.preprocessing)
        if isinstance(image, np.ndarray):
            _check_array(image)
            return resize_and_crop(PIL.Image.fromarray(image), self.preprocessing)
        path = Path(image)
        item = Item(path, 0, "", str(path))
        return resize_and_crop(read_image(item, advice=""), self.preprocessing)


def read_classes(run: Path, results: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    """The class names and the template that a run was trained with; its data is not needed.

    Raises:
      RunFolderError: when its files do not tell.
    """
    try:
        sampled = read_json(run / "sampled.json")
        names, template = (
            check_classnames(sampled["classnames"]),
            check_template(results["template"]),
        )
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise RunFolderError(
            f"{run / 'sampled.json'} and results.json do not tell the classes of the run ({error})."
        ) from error
    return names, template


def check_classnames(classnames: Any) -> tuple[str, ...]:
    """The class names as a tuple.

    Raises:
      ConfigError: unless there is at least one and all are different, non-empty texts.
    """
    names = tuple(classnames)
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise ConfigError(f"The classes must be one or more names, not {list(names)[:5]}.")
    twice = [name for name, count in collections.Counter(names).items() if count > 1]
    if twice:
        raise ConfigError(f"The class {twice[0]!r} is given more than once.")
    return names


def encode_classes(
    clip: Clip, prompts: TowerPrompts, classnames: Sequence[str], template: str
) -> np.ndarray:
    """Text features (C, F) of the classes, not normalised."""
    ids = clip.tokenize(prompts_for(classnames, template))  # (C, S)
    return np.asarray(text_features(clip, prepare_texts(ids, clip.config.text), prompts["text"]))


def _check_array(image: np.ndarray) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ConfigError(
            f"An image as an array must be (H, W, 3) uint8, not {image.shape} {image.dtype}."
        )


def _batched(pixels: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Stacks of at most ``size`` images, (n, H, W, 3)."""
    batch: list[np.ndarray] = []
    for image in pixels:
        batch.append(image)
        if len(batch) == size:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)
