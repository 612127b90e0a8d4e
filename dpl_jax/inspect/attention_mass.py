"""How much of the self-attention goes to the prompts, by layer, head and query.

The towers are run as they are; the masses are then computed anew from what each layer was given.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dpl_jax.clip.attention import LayerPrompts, prompt_mass
from dpl_jax.clip.config import ClipConfig, TowerConfig, VisionConfig
from dpl_jax.clip.features import compute_dtype
from dpl_jax.clip.model import Clip
from dpl_jax.clip.texts import end_positions
from dpl_jax.clip.towers import causal_mask, image_tower, text_tower
from dpl_jax.clip.transformer import Block
from dpl_jax.clip.weights import Params
from dpl_jax.prompts.checks import check_images, check_input_ids


def image_attention_mass(clip: Clip, images: Any, prompts: LayerPrompts | None) -> jax.Array:
    """The share of attention that each query of the image tower gives to the prompts of its layer.

    The tokens get the rest. Of a supernet it is the mean over the candidates, weighted by
    softmax(alpha) as in the forward pass. The patches' queries of the last layer are in it too,
    though CLIP reads only the class token there.

    Args:
      clip: a frozen CLIP.
      images: (B, H, W, 3) normalised floats.
      prompts: of the image tower, as a view of :mod:`dpl_jax.prompts.learned` has them.

    Returns:
      (N, B, H, S) float32, 0 to 1; position 0 is the class token, then the patches row by row.
      A layer without prompts has zeros.

    Raises:
      ConfigError: for images that do not fit the CLIP.
    """
    images = jnp.asarray(images)
    check_images(images, clip.sizes.vision)
    config = clip.sizes.vision
    if prompts is None:
        return _no_mass(config, len(images), config.grid**2 + 1)
    return _image_mass(clip.sizes, clip.dtype, clip.params["image"], images, prompts)


def text_attention_mass(clip: Clip, input_ids: Any, prompts: LayerPrompts | None) -> jax.Array:
    """As :func:`image_attention_mass`, of the text tower.

    Args:
      clip: a frozen CLIP.
      input_ids: (C, S) token ids.
      prompts: of the text tower.

    Returns:
      (N, C, H, S) float32, 0 to 1. CLIP reads the first end-of-text; positions behind it mean
      nothing.

    Raises:
      ConfigError: for token ids that do not fit the CLIP.
    """
    input_ids = np.asarray(input_ids)
    check_input_ids(input_ids, clip.sizes.text)
    if prompts is None:
        return _no_mass(clip.sizes.text, *input_ids.shape)
    return _text_mass(clip.sizes, clip.dtype, clip.params["text"], input_ids, prompts)


def mass_at(mass: jax.Array, positions: Any) -> jax.Array:
    """The mass (N, B, H) that one query of each row gives, of masses (N, B, H, S).

    Args:
      mass: see :func:`image_attention_mass`.
      positions: (B,) of the queries, or one for all: 0 is an image's class token, and
        :func:`dpl_jax.clip.texts.end_positions` gives a text's end.
    """
    positions = jnp.broadcast_to(jnp.asarray(positions), mass.shape[1:2])  # (B,)
    return jnp.take_along_axis(mass, positions[None, :, None, None], axis=-1)[..., 0]  # (N, B, H)


def patch_map(mass: jax.Array) -> jax.Array:
    """Where in an image the attention to the prompts comes from.

    Args:
      mass: (N, B, H, S), see :func:`image_attention_mass`.

    Returns:
      (B, h, w): of each patch's queries, the mean mass over the heads and over all layers but the
      last, in which no patch's query reaches the image's feature.
    """
    layers, batch, _, tokens = mass.shape
    grid = round((tokens - 1) ** 0.5)
    total = mass[:-1, :, :, 1:].mean(axis=2).sum(axis=0)  # (B, S - 1)
    return (total / max(layers - 1, 1)).reshape(batch, grid, grid)  # (B, h, w)


def over_image(maps: Any, config: VisionConfig) -> np.ndarray:
    """Maps (B, h, w) of patches, spread bilinearly over the images' pixels: (B, H, W).

    Pixels at the right and the bottom that are in no patch get their neighbours' values.
    """
    covered, side = config.grid * config.patch_size, config.image_size
    spread = jax.image.resize(jnp.asarray(maps), (len(maps), covered, covered), "linear")
    rest = (0, side - covered)
    return np.pad(np.asarray(spread), ((0, 0), rest, rest), mode="edge")  # (B, H, W)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _image_mass(
    sizes: ClipConfig, dtype: str, params: Params, images: jax.Array, prompts: LayerPrompts
) -> jax.Array:
    tower = image_tower(sizes, dtype=compute_dtype(dtype))
    _, found = tower.apply({"params": params}, images, prompts, mutable="intermediates")
    return _mass(sizes.vision, dtype, params, found, prompts, None)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _text_mass(
    sizes: ClipConfig, dtype: str, params: Params, input_ids: jax.Array, prompts: LayerPrompts
) -> jax.Array:
    tower = text_tower(sizes, dtype=compute_dtype(dtype))
    end = end_positions(input_ids, sizes.text)
    _, found = tower.apply({"params": params}, input_ids, end, prompts, mutable="intermediates")
    return _mass(sizes.text, dtype, params, found, prompts, causal_mask(input_ids.shape[1]))


def _mass(
    config: TowerConfig,
    dtype: str,
    params: Params,
    found: Any,
    prompts: LayerPrompts,
    mask: jax.Array | None,
) -> jax.Array:
    """Masses (N, B, H, S) from the hidden states that each layer of a tower was given."""
    block, heads = Block(config, compute_dtype(dtype)), config.num_attention_heads

    def split(y: jax.Array) -> jax.Array:
        return y.reshape(*y.shape[:-1], heads, -1)  # (..., H, d)

    def of_layer(layer: tuple[Params, jax.Array, LayerPrompts]) -> jax.Array:
        own, x, prompts = layer
        _, inside = block.apply(
            {"params": own}, x, prompts, None, mask, capture_intermediates=_is_query_or_key
        )
        outputs = inside["intermediates"]["attention"]
        (query,) = outputs["query"]["__call__"]  # (B, S, D)
        key, prompt_key = outputs["key"]["__call__"]  # (B, S, D) and (P, D): tokens come first
        return prompt_mass(split(query), split(key), split(prompt_key), prompts, mask)

    (inputs,) = found["intermediates"]["encoder"]["layer_inputs"]  # (N, B, S, D)
    return jax.lax.map(of_layer, (params["encoder"]["layers"], inputs, prompts))


def _is_query_or_key(module: Any, method: str) -> bool:
    return module.name in ("query", "key")


def _no_mass(config: TowerConfig, batch: int, tokens: int) -> jax.Array:
    shape = (config.num_hidden_layers, batch, config.num_attention_heads, tokens)
    return jnp.zeros(shape, jnp.float32)  # (N, B, H, S)
