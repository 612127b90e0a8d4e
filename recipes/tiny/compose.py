"""From scenes to pixels: warp the mask, colour it, put it on its background, degrade it."""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates
from PIL import Image

from recipes.tiny.scenes import RESOLUTIONS

Pixels = dict[str, jax.Array]


def compose(key: jax.Array, masks: jax.Array, pixels: Pixels, side: int) -> jax.Array:
    """Images (B, side, side, 3) in 0..1 of the scenes `pixels` over the atlas `masks` (M, m, m)."""
    keys = jax.random.split(key, pixels["mask"].shape[0])
    shown, clutter = (jnp.asarray(masks)[pixels[name]] / 255 for name in ("mask", "clutter"))
    draw_all = jax.vmap(_compose_one, in_axes=(0, 0, 0, 0, None))
    return draw_all(keys, shown, clutter, pixels, side)


def _compose_one(
    key: jax.Array, mask: jax.Array, clutter: jax.Array, scene: Pixels, side: int
) -> jax.Array:
    elastic_key, noise_key = jax.random.split(key)
    covered = _warped(elastic_key, mask, scene, side)  # (side, side)
    covered = jnp.clip(scene["gain"] * covered, 0, 1)[..., None]
    clutter = jax.image.resize(clutter, (side, side), "linear")[..., None]
    contrast = scene["clutter_strength"] * (0.5 - scene["background"])
    background = scene["background"] + 2 * contrast * clutter  # (side, side, 3)
    image = covered * scene["colour"] + (1 - covered) * background
    image = image * (1 + _grid(side) @ scene["light"])[..., None]
    resample = jnp.asarray(resampling(side))[scene["resolution"]]  # (side, side)
    image = jnp.einsum("ij,jkc,lk->ilc", resample, image, resample)
    noise = scene["noise"] * jax.random.normal(noise_key, image.shape)
    return jnp.clip(image + noise, 0, 1)


def _grid(side: int) -> jax.Array:
    """Pixel centres (side, side, 2) as (x, y) in -1..1."""
    line = (jnp.arange(side) + 0.5) / side * 2 - 1
    return jnp.stack(jnp.meshgrid(line, line), axis=-1)


def _warped(key: jax.Array, mask: jax.Array, scene: Pixels, side: int) -> jax.Array:
    """The mask (m, m) slanted, scaled, turned, bent and moved onto the image (side, side)."""
    cos, sin = jnp.cos(scene["rotation"]), jnp.sin(scene["rotation"])
    turn = jnp.array([[cos, -sin], [sin, cos]])
    slant = jnp.array([[1.0, 0.0], [0.0, 1.0]]).at[0, 1].set(-scene["slant"])
    forward = turn @ slant @ jnp.diag(scene["scale"])
    bend = scene["elastic"] * jax.random.normal(key, (4, 4, 2))
    places = _grid(side) - scene["centre"]
    places = places + jax.image.resize(bend, (side, side, 2), "cubic")
    source = places @ jnp.linalg.inv(forward).T  # (side, side, 2), in the mask's -1..1
    pixels = (source + 1) / 2 * mask.shape[0] - 0.5
    return map_coordinates(mask, [pixels[..., 1], pixels[..., 0]], order=1)


@lru_cache(maxsize=4)
def resampling(side: int) -> np.ndarray:
    """Matrices (resolutions, side, side): reduce a line by area, then enlarge it bicubically."""
    identity = np.eye(side, dtype=np.float32)
    matrices = [identity]
    for resolution in RESOLUTIONS[1:]:
        small = _resized(identity, resolution, Image.Resampling.BOX)
        matrices.append(_resized(small, side, Image.Resampling.BICUBIC))
    return np.stack(matrices)


def _resized(lines: np.ndarray, length: int, method: Image.Resampling) -> np.ndarray:
    """Columns of `lines` (n, width) resized to (length, width) as Pillow does."""
    image = Image.fromarray(np.ascontiguousarray(lines))
    return np.asarray(image.resize((lines.shape[1], length), method))
