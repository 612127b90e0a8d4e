"""Changes of the photos of a step on the device: crops, flips and colour."""

from __future__ import annotations

import jax
import jax.numpy as jnp

RATIO = 4 / 3  # the largest ratio of a crop's sides
GREY = (0.299, 0.587, 0.114)  # shares of the colours in a grey level (ITU-R BT.601)


def augment(key: jax.Array, pixels: jax.Array, area: float, colour: float) -> jax.Array:
    """Returns photos (B, H, W, 3) in 0..1 of ``pixels`` (B, H, W, 3) uint8.

    Args:
      key: a typed PRNG key; every photo gets changes of its own.
      pixels: the photos.
      area: least share of the photo that a crop keeps; crops are stretched to the whole side.
      colour: largest relative change of brightness, contrast and saturation.
    """
    images = pixels.astype(jnp.float32) / 255
    keys = jax.random.split(key, len(images))
    return jax.vmap(_augment_one, in_axes=(0, 0, None, None))(keys, images, area, colour)


def _augment_one(key: jax.Array, image: jax.Array, area: float, colour: float) -> jax.Array:
    size_key, ratio_key, corner_key, flip_key, colour_key = jax.random.split(key, 5)
    share = jax.random.uniform(size_key, minval=area, maxval=1.0)
    ratio = RATIO ** jax.random.uniform(ratio_key, minval=-1.0, maxval=1.0)
    sides = jnp.minimum(jnp.sqrt(share * jnp.stack([1 / ratio, ratio])), 1.0)  # (2,) of the whole
    corner = jax.random.uniform(corner_key, (2,)) * (1 - sides)
    lengths = jnp.array(image.shape[:2])
    image = jax.image.scale_and_translate(
        image, image.shape, (0, 1), 1 / sides, -corner / sides * lengths, "linear"
    )
    image = jnp.where(jax.random.bernoulli(flip_key), image[:, ::-1], image)
    bright, contrast, saturation = 1 + colour * jax.random.uniform(
        colour_key, (3,), minval=-1.0, maxval=1.0
    )
    image = image * bright
    image = image.mean() + contrast * (image - image.mean())
    grey = (image @ jnp.array(GREY))[..., None]
    return jnp.clip(grey + saturation * (image - grey), 0, 1)
