"""How a CLIP wants its images: size, crop and colours, read from its files."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import PIL.Image

from dpl_jax.clip import open_clip
from dpl_jax.errors import DataError
from dpl_jax.files import limits
from dpl_jax.files.json import read_json

# Mean and standard deviation of the colours CLIP was trained on (openai/CLIP, clip.py).
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
CLIP_SIDE = 224  # what transformers' CLIPImageProcessor takes where a file says nothing
BICUBIC = int(PIL.Image.Resampling.BICUBIC)
# Fields of an image processor (transformers, ImagesKwargs): those that are read, those that have to
# be on, and those that do not change the pixels of an RGB image.
FIELDS = {"size", "crop_size", "image_mean", "image_std", "resample", "do_normalize"}
SWITCHES = {"do_resize", "do_center_crop", "do_rescale"}
NO_PIXELS = {"do_convert_rgb", "data_format", "input_data_format", "return_tensors", "device"}
NO_PIXELS |= {"disable_grouping", "processor_class", "auto_map", "use_fast", "image_seq_length"}
CLIP_KINDS = ("CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPImageProcessorPil")
KINDS = {
    "image_processor_type": CLIP_KINDS,
    "feature_extractor_type": ("CLIPFeatureExtractor", *CLIP_KINDS),
}


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
    """Reads how a checkpoint wants its images; where it does not say, CLIP's own values.

    transformers 5 saves ``processor_config.json`` and prefers it to ``preprocessor_config.json``.

    Args:
      folder: the checkpoint's folder, in Hugging Face's format or in open_clip's.
      image_size: the side of the images that the image tower takes, in pixels.

    Raises:
      DataError: a file asks for something that is not CLIP's resize, crop and normalisation, or
          for another size than the tower's; names the field.
    """
    folder = Path(folder)
    path = folder / open_clip.CONFIG
    try:
        if open_clip.is_open_clip(folder):
            fields = open_clip.preprocessing_fields(folder, image_size)
        else:
            path, fields = _processor_fields(folder)
            if fields is None:
                return Preprocessing(size=image_size, crop=image_size)
        preprocessing = parse_preprocessing(fields)
    except (ValueError, TypeError, KeyError, OSError, OverflowError) as error:
        raise DataError(f"{path} does not describe CLIP's preprocessing: {error}") from error
    if preprocessing.crop != image_size:
        raise DataError(
            f"{path} crops images to {preprocessing.crop} pixels, but the image tower takes "
            f"{image_size}; the files belong to different checkpoints."
        )
    return preprocessing


def parse_preprocessing(fields: Mapping[str, Any]) -> Preprocessing:
    """Reads the fields that transformers' ``CLIPImageProcessor`` saves, in old and new spelling.

    Raises:
      DataError, TypeError, ValueError: a field that would change the pixels in a way that is not
          done here, or is not known.
    """
    if not isinstance(fields, Mapping):
        raise DataError("it does not hold a mapping")
    for name, value in fields.items():
        _check_field(name, value)
    normal = _switch(fields, "do_normalize")
    return Preprocessing(
        size=_side("size", fields.get("size"), "shortest_edge"),
        crop=_side("crop_size", fields.get("crop_size"), "height", "width"),
        mean=_three("image_mean", fields.get("image_mean"), CLIP_MEAN) if normal else (0.0,) * 3,
        std=_three("image_std", fields.get("image_std"), CLIP_STD) if normal else (1.0,) * 3,
        resample=_resampling(fields.get("resample")),
    )


def _processor_fields(folder: Path) -> tuple[Path, Any]:
    """The fields of the image processor, or None, and the file that they are from."""
    path = folder / "processor_config.json"
    if path.is_file():
        contents = read_json(path)
        if not isinstance(contents, Mapping):
            raise DataError(f"{path.name} does not hold a mapping")
        if contents.get("image_processor") is not None:
            return path, contents["image_processor"]
    path = folder / "preprocessor_config.json"
    return path, read_json(path) if path.is_file() else None


def _check_field(name: str, value: Any) -> None:
    """Raises DataError for a field that asks for other pixels than CLIP's, or is not known."""
    if value is None or name in FIELDS or name in NO_PIXELS or name.startswith("_"):
        return
    if name in KINDS:
        wrong = value not in KINDS[name]
    elif name in SWITCHES:
        wrong = value is not True
    elif name == "rescale_factor":
        wrong = type(value) not in (int, float) or not math.isclose(value, 1 / 255, rel_tol=1e-6)
    else:  # a step that is off changes nothing
        wrong = value is not False
    if wrong:
        raise DataError(f"{name} is {value!r:.100}, which is not done here")


def _switch(fields: Mapping[str, Any], name: str) -> bool:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise DataError(f"{name} is {value!r:.100}, neither true nor false")
    return value is not False


def _side(name: str, value: Any, *keys: str) -> int:
    """A number of pixels: as it is, or under all of ``keys`` alike; None for CLIP's own 224."""
    values = [CLIP_SIDE if value is None else value]
    if isinstance(value, Mapping):
        given = {key: side for key, side in value.items() if side is not None}
        if given.keys() != set(keys):
            raise DataError(
                f"{name} is {dict(value)!r:.100}, not a mapping with {' and '.join(keys)}"
            )
        values = list(given.values())
    if any(type(side) is not int for side in values) or len(set(values)) > 1:
        raise DataError(f"{name} is {value!r:.100}, not square or not whole pixels")
    side: int = values[0]
    return side


def _resampling(value: Any) -> int:
    """Pillow's number of an interpolation, from its number or name; None for CLIP's own."""
    kinds = PIL.Image.Resampling
    if value is None:
        return BICUBIC
    if isinstance(value, str) and value.upper() in kinds.__members__:
        return int(kinds[value.upper()])
    if type(value) is not int or value not in list(kinds):
        raise DataError(f"resample is {value!r:.100}, not a filter of Pillow")
    return value


def _three(name: str, values: Any, usual: tuple[float, float, float]) -> tuple[float, float, float]:
    """Three numbers, or one for all three; None for the usual ones."""
    if values is None:
        return usual
    if type(values) in (int, float):
        values = [values] * 3
    numbers = isinstance(values, list | tuple) and all(type(v) in (int, float) for v in values)
    if not numbers or len(values) != 3:
        raise DataError(f"{name} is {values!r:.100}, not three numbers")
    red, green, blue = map(float, values)
    return red, green, blue
