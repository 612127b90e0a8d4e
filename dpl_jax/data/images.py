"""Opening images of every common kind as upright 8-bit RGB, with limits and clear errors."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self

import numpy as np
import PIL.Image
from ml_collections import ConfigDict

from dpl_jax.data.depths import to_rgb
from dpl_jax.data.image_files import FORMATS, SUFFIXES
from dpl_jax.data.jpeg_scans import check_scans
from dpl_jax.data.orientation import open_image, upright
from dpl_jax.data.split import Image, Item
from dpl_jax.errors import DataError, DplError, UnreadableImageError
from dpl_jax.files import limits
from dpl_jax.files.regular import open_regular

MAX_PIXELS = limits.IMAGE_PIXELS  # a lower limit can be set
# Most photos are read at once: the many small reads and seeks of the decoders cost a tenth.
READ_BUFFER, READ_WHOLE = 1 << 18, 1 << 24
ADVICE = "Replace or remove it, or set data.skip_unreadable=true to leave such images out."
__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "SUFFIXES",
    "Reading",
    "from_pillow",
    "read_image",
    "to_rgb",
    "upright",
]


class Reading(NamedTuple):
    """How many images are read; the fields of ``config.data`` by the same names."""

    skip_unreadable: bool = False
    max_pixels: int = MAX_PIXELS
    workers: int = 0

    @classmethod
    def of(cls, data: Mapping[str, Any] | ConfigDict) -> Self:
        """As ``config.data`` says."""
        return cls(*(data[name] for name in cls._fields))


def read_image(
    item: Item,
    *,
    max_pixels: int = MAX_PIXELS,
    at_least: int | None = None,
    advice: str = ADVICE,
) -> PIL.Image.Image:
    """Returns an item's image as upright RGB.

    Animations give their first frame; grey of more bits and floats are scaled
    (:func:`dpl_jax.data.depths.to_rgb`); transparency is dropped and CMYK converted as Pillow does
    (CLIP's own preprocessing is ``convert("RGB")`` too).

    Args:
        max_pixels: larger images are refused from their header, before anything is decoded.
        at_least: lets the JPEG decoder shrink a larger image by 2, 4 or 8 as long as both sides
            keep this many pixels; much faster, and not what CLIP's own preprocessing does.
        advice: what the error tells to do about a bad image.

    Raises:
        UnreadableImageError: missing, forbidden, damaged, too large, or not an image.
    """
    if isinstance(item.image, np.ndarray):
        return PIL.Image.fromarray(item.image).convert("RGB")
    where = str(item.image) if isinstance(item.image, Path) else item.name
    with (
        _explained(where, max_pixels, advice),
        _opened(item.image) as file,
    ):
        image, known = open_image(file)
        _check_size(image, where, max_pixels)
        if image.format in ("JPEG", "MPO"):
            check_scans(file)
        if at_least is not None:
            image.draft(None, (at_least, at_least))
        return to_rgb(upright(image, known), where)


def from_pillow(image: PIL.Image.Image) -> PIL.Image.Image:
    """Returns an opened Pillow image as upright RGB, as :func:`read_image` does.

    Raises:
        UnreadableImageError: it turns out to be damaged.
    """
    with _explained("A Pillow image", MAX_PIXELS, ""):
        return to_rgb(upright(image), "A Pillow image")


def _opened(image: Image) -> BinaryIO:
    """Opens the file, or the bytes of a record."""
    if isinstance(image, Path):
        file = open_regular(image, READ_BUFFER)
        size = os.fstat(file.fileno()).st_size
        if size > limits.IMAGE_BYTES:
            file.close()
            raise ValueError(f"a file of more than {limits.IMAGE_BYTES >> 20} MiB")
        if size > READ_WHOLE:
            return file
        with file:
            return io.BytesIO(file.read())
    if isinstance(image, np.ndarray):
        raise DataError("An array needs no decoding.")
    return io.BytesIO(image.read())


def _check_size(image: PIL.Image.Image, where: str, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise UnreadableImageError(
            f"{where}: {width} x {height} pixels are more than the limit of {max_pixels}. "
            "Make the image smaller, or raise data.max_pixels."
        )


@contextlib.contextmanager
def _explained(where: str, max_pixels: int, advice: str) -> Iterator[None]:
    """Turns whatever a bad file makes Pillow raise into one error that names the file."""
    try:
        yield
    except DplError:
        raise
    except Exception as error:  # decoders raise all kinds
        reason = _reason(error, max_pixels)
        raise UnreadableImageError(f"{where}: {reason}. {advice}".rstrip()) from error


def _reason(error: Exception, max_pixels: int) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if isinstance(error, PIL.UnidentifiedImageError):
        return "not an image that can be read"
    if isinstance(error, PIL.Image.DecompressionBombError):
        return f"more pixels than the limit of {max_pixels} (data.max_pixels)"
    if isinstance(error, MemoryError):
        return "there is not enough memory to decode it"
    return f"a damaged image ({error or type(error).__name__})"
