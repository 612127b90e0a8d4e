"""The test transform (CLIP's own preprocessing) and the normalisation."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image

from dpl_jax.clip.preprocessing import Preprocessing

# Of a longer strip only the centre is computed, from its box in the original: 1 x 30000 pixels
# would take 4.5 GB whole. The two ways differ by at most a few grey levels.
LONGEST_RESIZED = 32


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
