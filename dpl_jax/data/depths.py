"""Images of every mode and depth as 8-bit RGB."""

from __future__ import annotations

import functools
import logging
import threading

import numpy as np
import PIL.Image
import PIL.ImageCms

# The largest value of 8, 12, 16 and 31 bits: whole numbers are scaled by the first that holds them.
DEPTHS = {8: 255, 12: 4095, 16: 65535, 31: 2**31 - 1}
FLOAT_SCALES = (1, 255, 65535)
LEAST_SHARE = 1 / 8  # of its range that an image uses, or it is warned about
_told: set[str] = set()
_lock = threading.Lock()
log = logging.getLogger(__name__)


def to_rgb(image: PIL.Image.Image, where: str = "") -> PIL.Image.Image:
    """Converts any Pillow mode to RGB, and loads what is RGB already.

    Whole numbers of more than 8 bits are scaled from 16 bits, or 31 where they are larger; an image
    whose largest value has at most 12 bits from 12, and one of at most 255 not at all. Floats are
    taken as 0..1, else 0..255, else 0..65535.

    Args:
        where: what a warning calls an image that uses little of its range; "" for no warning.

    Raises:
        ValueError: floats that are not numbers, or larger.
    """
    if image.mode == "RGB":
        image.load()
        return image
    if image.mode.startswith("I"):
        return _from_integers(np.asarray(image), where)
    if image.mode == "F":
        return _from_floats(np.asarray(image))
    if image.mode == "LAB":
        return _from_lab(image)
    if image.mode in ("La", "RGBa"):
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
        image = image.convert("RGBA")  # Pillow warns about the direct way; the colours are equal
    return image.convert("RGB")


def _from_integers(values: np.ndarray, where: str) -> PIL.Image.Image:
    """Scales grey values to 8 bits; Pillow's own conversion would cut them off at 255."""
    highest = int(values.max(initial=0))
    bits, most = next((b, most) for b, most in DEPTHS.items() if highest <= most)
    held = 16 if most <= DEPTHS[16] else 31
    if most > 255 and highest < LEAST_SHARE * DEPTHS[held]:
        _warn_once(where, highest, bits, held)
    grey = np.empty(values.shape, np.uint8)  # (H, W)
    for row, line in zip(grey, values, strict=True):  # a whole image would take 16 bytes a pixel
        row[:] = (np.clip(line.astype(np.int64), 0, most) * 255 + most // 2) // most
    return PIL.Image.fromarray(grey).convert("RGB")


def _from_floats(values: np.ndarray) -> PIL.Image.Image:
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    if not np.isfinite([low, high]).all():
        raise ValueError("its values are not all finite numbers")
    most = next((scale for scale in FLOAT_SCALES if high <= scale), None)
    if most is None:
        raise ValueError(f"its values reach {high:g}; floats are read as 0..1, 0..255 or 0..65535")
    grey = np.empty(values.shape, np.uint8)  # (H, W)
    for row, line in zip(grey, values, strict=True):
        row[:] = np.clip(line.astype(np.float64) * (255 / most) + 0.5, 0, 255)
    return PIL.Image.fromarray(grey).convert("RGB")


def _from_lab(image: PIL.Image.Image) -> PIL.Image.Image:
    converted = PIL.ImageCms.applyTransform(image, _lab_to_rgb())
    assert converted is not None  # in place only
    return converted


@functools.cache
def _lab_to_rgb() -> PIL.ImageCms.ImageCmsTransform:
    lab, rgb = PIL.ImageCms.createProfile("LAB"), PIL.ImageCms.createProfile("sRGB")
    return PIL.ImageCms.buildTransform(lab, rgb, "LAB", "RGB")


def _warn_once(where: str, highest: int, bits: int, held: int) -> None:
    """Names the first such image of each folder."""
    folder = where.replace("\\", "/").rpartition("/")[0]
    with _lock:
        if not where or folder in _told:
            return
        _told.add(folder)
    log.warning(
        "%s: the largest value is %d, less than 1/8 of the range of %d bits: its values are read "
        "as those of %d bits. Others beside it are not named.",
        where,
        highest,
        held,
        bits,
    )
