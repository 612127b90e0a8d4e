"""What the page is told about one image: probabilities, and where attention goes to the prompts."""

from __future__ import annotations

import base64
import io
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import PIL.Image

from dpl_jax.data.transforms import normalise, resize_and_crop
from dpl_jax.files.printable import printable
from dpl_jax.inference.classifier import Classifier
from dpl_jax.inspect.attention_mass import image_attention_mass, over_image, patch_map

# A stranger's image; larger ones are refused from their header.
MAX_PIXELS = 50_000_000
MOST_CLASSES = 1000
COLOURS = "plasma"


def answer(classifier: Classifier, image: PIL.Image.Image) -> dict[str, Any]:
    """Classifies one uploaded image.

    Args:
      classifier: of the run.
      image: upright RGB.

    Returns:
      ``{"classes": [{"name": .., "probability": ..}, ..], "image": .., "map": .., "share": ..}``:
      the likeliest classes first (at most 1000); the square that the model sees and a transparent
      map over it as data URIs; the mean share of attention that goes to the prompts (0 to 1), or
      None for map and share where no layer of the image tower has prompts.
    """
    pixels = resize_and_crop(image, classifier.preprocessing)
    probabilities = classifier.probabilities(pixels[None])[0]  # (C,)
    order = np.argsort(-probabilities, kind="stable")[:MOST_CLASSES]
    names = classifier.classnames
    classes = [
        {"name": printable(names[index]), "probability": float(probabilities[index])}
        for index in order
    ]
    share, mass = attention(classifier, pixels)
    return {
        "classes": classes,
        "image": png_uri(pixels),
        "map": None if mass is None else png_uri(coloured(mass)),
        "share": share,
    }


def attention(classifier: Classifier, pixels: np.ndarray) -> tuple[float | None, np.ndarray | None]:
    """The mean share of attention to prompts, and its map (H, W) over the square; None without.

    Args:
      classifier: of the run.
      pixels: (H, W, 3) uint8, what the model sees.
    """
    prompts, preprocessing = classifier.prompts["image"], classifier.preprocessing
    if prompts is None:
        return None, None
    images = normalise(jnp.asarray(pixels[None]), preprocessing.mean, preprocessing.std)
    mass: jax.Array = image_attention_mass(classifier.clip, images, prompts)  # (N, 1, H, S)
    if not (mass > 0).any():
        return None, None
    spread = over_image(patch_map(mass), classifier.clip.sizes.vision)[0]  # (H, W)
    return float(mass.mean()), spread


def coloured(mass: np.ndarray) -> np.ndarray:
    """A map (H, W) as RGBA (H, W, 4) uint8, stretched from its least to its greatest value."""
    low, high = float(mass.min()), float(mass.max())
    scaled = (mass - low) / max(high - low, 1e-12)
    return matplotlib.colormaps[COLOURS](scaled, bytes=True)


def png_uri(pixels: np.ndarray) -> str:
    """An image (H, W, 3 or 4) uint8 as a ``data:`` address."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
