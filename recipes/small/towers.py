"""The towers as a pretraining runs them: on some of the patches, and quickly on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dpl_jax.clip.config import ClipConfig
from dpl_jax.clip.towers import text_tower, to_patches
from dpl_jax.clip.transformer import Layers, layer_norm
from dpl_jax.clip.weights import Params


def encode_patches(
    key: jax.Array, params: Params, sizes: ClipConfig, images: jax.Array, kept: int
) -> jax.Array:
    """Image features (B, F) from ``kept`` patches of every image, drawn at random (FLIP).

    With all patches it is the image tower (Li et al., 2023: fewer make a step that much cheaper).

    Args:
      key: a typed PRNG key.
      params: of the image tower.
      sizes: of the CLIP.
      images: (B, H, W, 3) normalised.
      kept: patches that are seen.
    """
    config, positions = sizes.vision, params["position_embedding"]
    patches = to_patches(images, config.patch_size)  # (B, S - 1, p * p * 3)
    count, total = patches.shape[:2]
    drawn = jnp.argsort(jax.random.uniform(key, (count, total)), axis=1)[:, :kept]
    own = drawn if kept < total else jnp.broadcast_to(jnp.arange(total), (count, total))
    patches = jnp.take_along_axis(patches, own[..., None], axis=1)  # (B, kept, p * p * 3)
    x = patches @ params["patch_embedding"]["kernel"] + positions[1:][own]  # (B, kept, D)
    first = jnp.broadcast_to(params["class_embedding"] + positions[0], (count, 1, x.shape[2]))
    x = jnp.concatenate([first, x], axis=1)  # (B, 1 + kept, D)
    x = layer_norm(config, "pre").apply({"params": params["pre_layernorm"]}, x)
    read = jnp.zeros(count, jnp.int32)
    with nn.intercept_methods(flat_dense):
        x, _ = Layers(config).apply({"params": params["encoder"]}, x, read)  # (B, 1, D)
    x = layer_norm(config, "post").apply({"params": params["post_layernorm"]}, x[:, 0])
    features: jax.Array = x @ params["projection"]["kernel"]  # (B, F)
    return features


def encode_texts(params: Params, sizes: ClipConfig, ids: jax.Array, end: jax.Array) -> jax.Array:
    """Text features (M, F) of token ids (M, S) that end at ``end`` (M,)."""
    with nn.intercept_methods(flat_dense):
        features: jax.Array = text_tower(sizes).apply({"params": params}, ids, end)
    return features


def flat_dense(
    call: Callable[..., Any], arguments: Any, options: Any, context: nn.module.InterceptorContext
) -> Any:
    """Lets every Dense see its input (..., D) as rows (n, D).

    On a CPU, XLA takes twice as long for a kernel's gradient that is a sum over two axes.
    """
    if not isinstance(context.module, nn.Dense) or context.method_name != "__call__":
        return call(*arguments, **options)
    (x,) = arguments
    return call(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], -1)
