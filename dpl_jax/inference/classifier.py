"""A trained run as one object that classifies images: ``Classifier.load(RUN).predict(images)``."""

from __future__ import annotations

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

from dpl_jax.clip.features import (
    TowerPrompts,
    class_logits,
    image_features,
    text_features,
    to_length_one,
)
from dpl_jax.clip.model import Clip
from dpl_jax.clip.preprocessing import Preprocessing
from dpl_jax.clip.texts import prepare_texts
from dpl_jax.data.class_names import class_ids, has_same_names
from dpl_jax.data.images import from_pillow, read_image
from dpl_jax.data.split import Item
from dpl_jax.data.templates import check_template, fill, prompts_for
from dpl_jax.data.transforms import normalise, resize_and_crop
from dpl_jax.errors import ConfigError, RunFolderError
from dpl_jax.files.json import read_json
from dpl_jax.inference.exported import is_export, read_export
from dpl_jax.inference.trained import load_trained
from dpl_jax.prompts.checks import check_classnames
from dpl_jax.prompts.learned import Learned

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
      learned: the prompts, of one length per layer or a whole supernet.
      template: of the texts, with {} for the class name.
      classnames: the C classes.
      texts: what the text tower reads of each class.
      features: (C, F) text features of the classes, of length one, computed once.
      preprocessing: how an image becomes the model's input.
      results: of the run that trained the prompts, see docs/results-format.md.
      batch_size: images at a time.
    """

    clip: Clip
    learned: Learned
    template: str
    classnames: tuple[str, ...]
    texts: tuple[str, ...]
    features: np.ndarray
    preprocessing: Preprocessing
    results: Mapping[str, Any]
    batch_size: int = 32

    @classmethod
    def load(
        cls, folder: str | os.PathLike[str], clip: str | os.PathLike[str] | None = None
    ) -> Self:
        """Loads a finished run, or the folder that one was exported to.

        Args:
          folder: of the run, or of what was exported.
          clip: folder or hub id of its frozen CLIP, where that is not found under the name that
            the run or the export gives it.

        Raises:
          RunFolderError: when it is neither, has not finished or is damaged.
          CheckpointError: when the run has no good checkpoint.
          WeightsError: when its CLIP cannot be found, or is not the one that it was trained with.
        """
        folder, clip = Path(folder), None if clip is None else os.fspath(clip)
        if is_export(folder):
            found = read_export(folder, clip)
            return cls(**found._asdict(), preprocessing=found.clip.preprocessing)
        trained = load_trained(folder, clip)
        origin = read_origin(folder)
        texts = tuple(prompts_for(origin.classnames, origin.template))
        return cls(
            clip=trained.clip,
            learned=trained.learned,
            template=origin.template,
            classnames=origin.classnames,
            texts=texts,
            features=encode_texts(
                trained.clip,
                trained.prompts,
                texts,
                names=() if has_same_names(origin.results) else origin.classnames,
            ),
            preprocessing=trained.clip.preprocessing,
            results=origin.results,
        )

    @functools.cached_property
    def prompts(self) -> TowerPrompts:
        """Both towers' view of the prompts."""
        return self.learned.view()

    def with_classes(
        self, classes: Sequence[str] | Mapping[str, str | None], template: str | None = None
    ) -> Self:
        """The same prompts with another label set: they do not depend on the classes.

        Args:
          classes: at least one name, all different; as a mapping, to the text of each class or a
            template of its own, None for the common one.
          template: with {} for the class name; None for the one that there is.

        Raises:
          ConfigError: for no classes, one that is given twice, two of one text, or an empty text.
          TextTooLongError: for a text that is longer than the text tower.
        """
        # Texts of their own may tell names apart that the common template would not.
        classnames = check_classnames(classes, same_texts=isinstance(classes, Mapping))
        template = check_template(self.template if template is None else template)
        own = classes if isinstance(classes, Mapping) else dict.fromkeys(classnames)
        texts = tuple(_text(name, own[name], template) for name in classnames)
        features = encode_texts(self.clip, self.prompts, texts, classnames)
        return dataclasses.replace(
            self, classnames=classnames, template=template, texts=texts, features=features
        )

    def rename(self, names: Mapping[str, str]) -> Self:
        """With other names for some classes, which are also what the text tower reads.

        Args:
          names: from the old name to the new one; all other classes stay as they are.

        Raises:
          ConfigError: for a name that is no class, or a new one that is a class already.
        """
        if unknown := sorted(set(names) - set(self.classnames)):
            raise ConfigError(
                f"{unknown[0]!r} is none of the classes: {', '.join(self.classnames)}."
            )
        renamed = check_classnames(
            [names.get(old, old) for old in self.classnames], same_texts=True
        )
        pairs = zip(self.classnames, self.texts, strict=True)
        kept = [None if old in names else text for old, text in pairs]
        return self.with_classes(dict(zip(renamed, kept, strict=True)))

    def predict(self, images: Picture | Iterable[Picture], top_k: int = 5) -> list[list[Guess]]:
        """The likeliest classes of each image, the likeliest first.

        Args:
          images: one or several: paths, Pillow images, or arrays (H, W, 3) uint8.
          top_k: so many classes, or all where there are fewer.

        Raises:
          UnreadableImageError: for a file that is no image, or one that is damaged.
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
            return resize_and_crop(from_pillow(image), self.preprocessing)
        if isinstance(image, np.ndarray):
            _check_array(image)
            return resize_and_crop(PIL.Image.fromarray(image), self.preprocessing)
        if not isinstance(image, str | os.PathLike):
            raise ConfigError(f"An image is a path, a Pillow image or an array, not {image!r:.80}.")
        path = Path(image)
        item = Item(path, 0, "", str(path))
        return resize_and_crop(read_image(item, advice=""), self.preprocessing)


class Origin(NamedTuple):
    """What a run's files tell of its classifier; its data is not needed."""

    classnames: tuple[str, ...]
    template: str
    sha256: str
    results: dict[str, Any]


def read_origin(run: Path) -> Origin:
    """Reads the classes, the template and the hash of the CLIP that a run was trained with.

    Raises:
      RunFolderError: when its files do not tell.
    """
    try:
        results, sampled = read_json(run / "results.json"), read_json(run / "sampled.json")
        names, template = (
            check_classnames(
                sampled["classnames"], same_texts=True, same_names=has_same_names(results)
            ),
            check_template(results["template"]),
        )
        return Origin(names, template, results["clip"]["sha256"], results)
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise RunFolderError(
            f"{run / 'results.json'} and sampled.json do not tell the classes and the CLIP of the "
            f"run ({error})."
        ) from error


def encode_texts(
    clip: Clip, prompts: TowerPrompts, texts: Sequence[str], names: Sequence[str] = ()
) -> np.ndarray:
    """Text features (C, F) of the classes' texts, of length one.

    Args:
      clip: frozen.
      prompts: of both towers.
      texts: of the C classes.
      names: of the C classes; where given, two of one text are refused.

    Raises:
      TextTooLongError: naming the class whose text is longer than the text tower.
      ConfigError: naming two classes of one text.
    """
    ids = class_ids(clip.tokenize, names or texts, texts, same_names=not names)  # (C, S)
    prepared = prepare_texts(ids, clip.sizes.text)
    return np.asarray(to_length_one(text_features(clip, prepared, prompts["text"])))


def _text(name: str, own: str | None, template: str) -> str:
    text = template if own is None else own
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f"The text of the class {name!r} is {text!r}; give one, or None.")
    return fill(text, name)


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
