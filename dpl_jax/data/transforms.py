"""The test transform (CLIP's own preprocessing) and the normalisation, read from the checkpoint."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image

from dpl_jax import limits
from dpl_jax.data.errors import DataError
from dpl_jax.json_files import read_json

# Mean and standard deviation of the colours CLIP was trained on (openai/CLIP, clip.py).
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
BICUBIC = int(PIL.Image.Resampling.BICUBIC)
# Of a longer strip only the centre is computed, from its box in the original: 1 x 30000 pixels
# would take 4.5 GB whole. The two ways differ by at most a few grey levels.
LONGEST_RESIZED = 32


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the model's input.

    Attributes:
        size: pixels that the short side is resized to.
        crop: pixels of both sides of the central square that is kept, at most ``size``.
        mean, std: of the colours, on a scale where white is 1.
        resample: Pillow's number of the interpolation (3 is bicubic).
    """

    size: int
    crop: int
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    resample: int = BICUBIC

    def __post_init__(self) -> None:
        if not 1 <= self.crop <= self.size:
            raise DataError(
                f"The preprocessing crops {self.crop} pixels from an image whose short side has "
                f"{self.size}; the crop must be between 1 and that."
            )
        if self.size > limits.CLIP_SIDE:
            raise DataError(f"size is {self.size}; it can be at most {limits.CLIP_SIDE} pixels.")
        if not all(map(math.isfinite, (*self.mean, *self.std))) or min(self.std) <= 0:
            raise DataError(f"colours of mean {self.mean} and deviation {self.std} cannot be.")
        PIL.Image.Resampling(self.resample)  # a ValueError for a number that is none


def read_preprocessing(folder: Path, image_size: int) -> Preprocessing:
    """Reads a checkpoint's ``preprocessor_config.json``; where there is none, CLIP's own values.

    Args:
        folder: the checkpoint's folder, in Hugging Face format.
        image_size: the side of the images that the image tower takes, in pixels.

    Raises:
        DataError: the file asks for something that is not CLIP's resize, crop and normalisation,
            or for another size than the tower's.
    """
    path = Path(folder) / "preprocessor_config.json"
    if not path.is_file():
        return Preprocessing(size=image_size, crop=image_size)
    try:
        preprocessing = parse_preprocessing(read_json(path))
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise DataError(f"{path} does not describe CLIP's preprocessing: {error}") from error
    if preprocessing.crop != image_size:
        raise DataError(
            f"{path} crops images to {preprocessing.crop} pixels, but the image tower of "
            f"config.json takes {image_size}; the two files belong to different checkpoints."
        )
    return preprocessing


def parse_preprocessing(fields: Mapping[str, Any]) -> Preprocessing:
    """Reads the fields that transformers' ``CLIPImageProcessor`` saves, in old and new spelling.

    Raises:
        DataError, KeyError, TypeError, ValueError: fields that are missing or not CLIP's.
    """
    if not isinstance(fields, Mapping):
        raise DataError("it holds no mapping")
    for step in ("do_resize", "do_center_crop"):
        if not fields.get(step, True):
            raise DataError(f"{step} is off")
    size, crop = fields["size"], fields["crop_size"]
    if isinstance(size, Mapping):
        size = size["shortest_edge"]
    if isinstance(crop, Mapping):
        if crop["height"] != crop["width"]:
            raise DataError(f"the crop is not square: {dict(crop)}")
        crop = crop["height"]
    normal = fields.get("do_normalize", True)
    return Preprocessing(
        size=int(size),
        crop=int(crop),
        mean=_three(fields.get("image_mean", CLIP_MEAN)) if normal else (0.0, 0.0, 0.0),
        std=_three(fields.get("image_std", CLIP_STD)) if normal else (1.0, 1.0, 1.0),
        resample=int(fields.get("resample", BICUBIC)),
    )


def resize_and_crop(image: PIL.Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """The test transform: resizes the short side with Pillow, keeps the central square.

    The sizes are those of torchvision's Resize and CenterCrop, which CLIP and CoOp use: the long
    side is cut down to whole pixels, the margin rounded half to even.

    Args:
        image: RGB, of any size.

    Returns:
        (crop, crop, 3) uint8.
    """
    width, height = image.size
    size, crop = preprocessing.size, preprocessing.crop
    new_width = size if width <= height else int(size * width / height)
    new_height = size if height <= width else int(size * height / width)
    left, top = round((new_width - crop) / 2), round((new_height - crop) / 2)
    resample = PIL.Image.Resampling(preprocessing.resample)
    if max(new_width, new_height) > LONGEST_RESIZED * size:
        across, down = width / new_width, height / new_height
        box = (left * across, top * down, (left + crop) * across, (top + crop) * down)
        return np.asarray(image.resize((crop, crop), resample, box=box))  # (crop, crop, 3)
    resized = image.resize((new_width, new_height), resample)
    return np.asarray(resized.crop((left, top, left + crop, top + crop)))  # (crop, crop, 3)


def normalise(
    images: jax.Array, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> jax.Array:
    """Returns (B, H, W, 3) float32 that the image tower takes, from grey levels 0..255."""
    scaled = images.astype(jnp.float32) / 255
    return (scaled - jnp.asarray(mean, jnp.float32)) / jnp.asarray(std, jnp.float32)


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
