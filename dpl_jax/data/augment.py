"""The train transform, on the device: random resized crop and flip of uint8 canvases.

The same distribution as torchvision's ``RandomResizedCrop(scale=(0.08, 1), ratio=(3/4, 4/3),
interpolation=BICUBIC)`` and ``RandomHorizontalFlip()``, which CoOp trains with.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

AREA = (0.08, 1.0)  # share of the image's area that a crop has
RATIO = (3 / 4, 4 / 3)  # its width divided by its height
TRIES = 10  # torchvision's; if none fits, the largest central crop within RATIO is taken
CUBIC = -0.5  # the free parameter of the cubic kernel, as in Pillow (torch's is -0.75)


@functools.partial(jax.jit, static_argnames="out_size")
def random_crop_flip(
    key: jax.Array, canvases: jax.Array, valid_sizes: jax.Array, out_size: int
) -> jax.Array:
    """Crops a random box of every image, resizes it to a square, and flips half of the results.

    Args:
        key: a typed PRNG key; the result depends on nothing else that is random.
        canvases: (B, S, S, 3) uint8, each image in the top left corner of its canvas.
        valid_sizes: (B, 2) int32, the images' height and width in pixels of the canvas.
        out_size: side of the result in pixels.

    Returns:
        (B, out_size, out_size, 3) uint8.
    """
    keys = jax.random.split(key, canvases.shape[0])  # (B,)
    boxes, flips = jax.vmap(sample_crop)(keys, valid_sizes)  # (B, 4), (B,)
    resize = functools.partial(crop_resize, out_size=out_size)
    return jax.vmap(resize)(canvases, boxes, flips)


def sample_crop(key: jax.Array, size: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Draws a crop and whether to flip it.

    Args:
        key: a typed PRNG key.
        size: (2,) int32, height and width of the image.

    Returns:
        The box (4,) int32 as top, left, height and width, and a boolean.
    """
    box_key, corner_key, flip_key = jax.random.split(key, 3)
    sides = _first_fitting(box_key, size)  # (2,)
    uniform = jax.random.uniform(corner_key, (2,))
    free = size - sides  # (2,) pixels that the corner may move
    random = jnp.minimum((uniform * (free + 1)).astype(jnp.int32), free)  # (2,) 0..free
    drawn, fallback = jnp.concatenate([random, sides]), _central_box(size)  # (4,), (4,)
    box = jnp.where(sides[0] > 0, drawn, fallback)  # (4,)
    return box, jax.random.bernoulli(flip_key)


def crop_resize(canvas: jax.Array, box: jax.Array, flip: jax.Array, out_size: int) -> jax.Array:
    """Resizes a box of an image with Pillow's antialiased bicubic filter.

    As when the box is cut out first, no pixel outside of it has any weight; this is what
    ``jax.image.scale_and_translate`` cannot do, and why the two weight matrices are made here.

    Args:
        canvas: (S, S, 3) uint8.
        box: (4,) top, left, height and width, in pixels.
        flip: boolean, whether to mirror left and right.
        out_size: side of the result in pixels.

    Returns:
        (out_size, out_size, 3) uint8.
    """
    rows = resize_weights(box[0], box[2], canvas.shape[0], out_size)  # (out, S)
    columns = resize_weights(box[1], box[3], canvas.shape[1], out_size)  # (out, S)
    columns = jnp.where(flip, columns[::-1], columns)
    levels = jnp.einsum(
        "yh,hwc,xw->yxc",
        rows,
        canvas.astype(jnp.float32),
        columns,
        precision=jax.lax.Precision.HIGHEST,
    )  # (out, out, 3)
    return jnp.clip(jnp.round(levels), 0, 255).astype(jnp.uint8)


def resize_weights(start: jax.Array, length: jax.Array, side: int, out_size: int) -> jax.Array:
    """Returns (out_size, side): the weight of each pixel of an axis in each pixel of the result.

    Pillow's (``Resample.c``): the kernel is centred on the result's pixel, widened by the scale
    when shrinking, cut off at the box, and its weights are divided by their sum.

    Args:
        start: first pixel of the box.
        length: pixels of the box.
        side: pixels of the axis.
        out_size: pixels of the result.
    """
    scale = length / out_size
    width = jnp.maximum(scale, 1.0)
    centres = start + (jnp.arange(out_size) + 0.5) * scale  # (out,)
    pixels = jnp.arange(side) + 0.5  # (S,)
    weights = _cubic((pixels[None, :] - centres[:, None]) / width)  # (out, S)
    inside = (pixels > start) & (pixels < start + length)  # (S,)
    weights = jnp.where(inside, weights, 0.0)
    return weights / jnp.sum(weights, axis=1, keepdims=True)


def _cubic(x: jax.Array) -> jax.Array:
    """Keys' cubic convolution kernel (1981, equation 15) with the parameter ``CUBIC``."""
    x = jnp.abs(x)
    near = ((CUBIC + 2) * x - (CUBIC + 3)) * x**2 + 1
    far = CUBIC * (((x - 5) * x + 8) * x - 4)
    return jnp.where(x < 1, near, jnp.where(x < 2, far, 0.0))


def _first_fitting(key: jax.Array, size: jax.Array) -> jax.Array:
    """Draws TRIES crops; returns height and width (2,) of the first that fits, or zeros."""
    area_key, ratio_key = jax.random.split(key)
    share = jax.random.uniform(area_key, (TRIES,), minval=AREA[0], maxval=AREA[1])
    low, high = jnp.log(jnp.asarray(RATIO))
    ratio = jnp.exp(jax.random.uniform(ratio_key, (TRIES,), minval=low, maxval=high))
    area = share * jnp.prod(size.astype(jnp.float32))  # (TRIES,)
    sides = jnp.stack([jnp.sqrt(area / ratio), jnp.sqrt(area * ratio)], axis=1)  # (TRIES, 2)
    sides = jnp.round(sides).astype(jnp.int32)
    fits = jnp.all((sides > 0) & (sides <= size), axis=1)  # (TRIES,)
    return jnp.where(jnp.any(fits), sides[jnp.argmax(fits)], 0)


def _central_box(size: jax.Array) -> jax.Array:
    """Returns the largest central box (4,) whose width / height lies within RATIO."""
    height, width = size[0].astype(jnp.float32), size[1].astype(jnp.float32)
    limited = jnp.stack(
        [
            jnp.minimum(height, jnp.round(width / RATIO[0])),
            jnp.minimum(width, jnp.round(height * RATIO[1])),
        ]
    )  # (2,)
    sides = jnp.maximum(limited.astype(jnp.int32), 1)
    return jnp.concatenate([(size - sides) // 2, sides])
