"""Opening images of every common kind as upright 8-bit RGB, with limits and clear errors."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import PIL.ExifTags
import PIL.Image
import PIL.ImageOps

from dpl_jax import limits
from dpl_jax.data.errors import DataError, UnreadableImageError
from dpl_jax.data.split import Image, Item
from dpl_jax.regular_files import open_regular

MAX_PIXELS = limits.IMAGE_PIXELS  # a lower limit can be set
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")
# Pillow's decoders of these alone are tried: those of other formats start programs (EPS starts
# Ghostscript) or are hardly ever looked after.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
# Most photos are read at once: the many small reads and seeks of the decoders cost a tenth.
READ_BUFFER = 1 << 18
ADVICE = "Replace or remove it, or set data.skip_unreadable=true to leave such images out."
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError)


def read_image(
    item: Item,
    *,
    max_pixels: int = MAX_PIXELS,
    at_least: int | None = None,
    advice: str = ADVICE,
) -> PIL.Image.Image:
    """Returns an item's image as upright RGB.

    Animations give their first frame; 16-bit grey is scaled to 8 bits; transparency is dropped and
    CMYK converted as Pillow does (CLIP's own preprocessing is ``convert("RGB")`` too).

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
        PIL.Image.open(file, formats=FORMATS) as image,
    ):
        _check_size(image, where, max_pixels)
        if at_least is not None:
            image.draft(None, (at_least, at_least))
        return to_rgb(upright(image))


def upright(image: PIL.Image.Image) -> PIL.Image.Image:
    """Turns and mirrors an image as its EXIF orientation says; damaged EXIF is passed over."""
    try:
        orientation = image.getexif().get(PIL.ExifTags.Base.Orientation, 1)
        # Pillow would copy the many images that need no turning.
        return image if orientation == 1 else PIL.ImageOps.exif_transpose(image)
    except _DAMAGED:
        return image


def to_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    """Converts any Pillow mode to RGB, and loads what is RGB already."""
    if image.mode == "RGB":
        image.load()
        return image
    if image.mode.startswith("I"):
        return _from_integers(np.asarray(image))
    if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
        image = image.convert("RGBA")  # Pillow warns about the direct way; the colours are equal
    return image.convert("RGB")


def _from_integers(values: np.ndarray) -> PIL.Image.Image:
    """Scales grey values of 16 bits to 8; Pillow's own conversion would cut them off at 255."""
    grey = np.empty(values.shape, np.uint8)  # (H, W)
    wide = values.max(initial=0) > 255
    for row, line in zip(grey, values, strict=True):  # a whole image would take 16 bytes a pixel
        scaled = (line.astype(np.int64) + 128) // 257 if wide else line  # 65535 / 255, rounded
        row[:] = np.clip(scaled, 0, 255)
    return PIL.Image.fromarray(grey).convert("RGB")


def _opened(image: Image) -> BinaryIO:
    """Opens the file, or the bytes of a record."""
    if isinstance(image, Path):
        file = open_regular(image, READ_BUFFER)
        if os.fstat(file.fileno()).st_size > limits.IMAGE_BYTES:
            file.close()
            raise ValueError(f"a file of more than {limits.IMAGE_BYTES >> 20} MiB")
        return file
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
    except UnreadableImageError:
        raise
    except (*_DAMAGED, PIL.Image.DecompressionBombError) as error:
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
    return f"a damaged image ({error})"
