"""Class logits of a frozen CLIP: zero-shot, with the supernet's prompts, with chosen prompts.

logits = exp(logit_scale) * normalised image feature . normalised text feature
(Radford et al., 2021, figure 3). The functions work inside jit, grad and vmap.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from dpl_jax.clip.attention import LayerPrompts
from dpl_jax.clip.config import ClipConfig
from dpl_jax.clip.model import Clip
from dpl_jax.clip.texts import Texts, prepare_texts
from dpl_jax.clip.towers import image_tower, text_tower
from dpl_jax.clip.weights import Params
from dpl_jax.errors import ConfigError
from dpl_jax.prompts.checks import (
    check_alphas,
    check_images,
    check_input_ids,
    check_prompt_lengths,
    check_prompts,
)
from dpl_jax.prompts.trees import TOWERS, discrete_prompts, supernet_prompts
from dpl_jax.runtime.mesh import over_devices

TowerPrompts = dict[str, LayerPrompts | None]
# Token ids (C, S) and ends (C,) of texts, and tokens (C, L, n, D) where each has its own.
TextRows = tuple[jax.Array, jax.Array, jax.Array | None]
NO_PROMPTS: TowerPrompts = {"image": None, "text": None}


def zero_shot_logits(clip: Clip, images: Any, input_ids: Any) -> jax.Array:
    """Logits (B, C) of plain CLIP.

    Args:
      clip: a frozen CLIP.
      images: (B, H, W, 3) normalised floats.
      input_ids: (C, S) token ids, one text for each class.

    Raises:
      ConfigError: for shapes or values that do not fit the CLIP; so do all functions here.
    """
    return _logits(clip, images, input_ids, NO_PROMPTS)


def search_logits(
    clip: Clip,
    images: Any,
    input_ids: Any,
    prompts: Mapping[str, jax.Array],
    alphas: Mapping[str, jax.Array],
) -> jax.Array:
    """Logits (B, C) of the supernet, all candidate lengths mixed by softmax(alpha).

    Args:
      clip: a frozen CLIP.
      images: (B, H, W, 3) normalised floats.
      input_ids: (C, S) token ids.
      prompts: {"image": (N, P, D), "text": (N, P, D)}, P = T (T + 1) / 2.
      alphas: {"image": (N, T + 1), "text": (N, T + 1)}.
    """
    check_prompts(prompts, clip.sizes)
    check_alphas(alphas, clip.sizes)
    return _logits(clip, images, input_ids, mixed(prompts, alphas))


def prompted_logits(
    clip: Clip,
    images: Any,
    input_ids: Any,
    prompts: Mapping[str, jax.Array],
    lengths: Mapping[str, Any],
) -> jax.Array:
    """Logits (B, C) with one prompt length a layer (stage 2).

    Args:
      clip: a frozen CLIP.
      images: (B, H, W, 3) normalised floats.
      input_ids: (C, S) token ids.
      prompts: {"image": (N, K, D), "text": (N, K, D)}.
      lengths: {"image": (N,), "text": (N,)}; rows beyond a layer's length do nothing.
    """
    check_prompts(prompts, clip.sizes)
    check_prompt_lengths(lengths, prompts, clip.sizes)
    return _logits(clip, images, input_ids, discrete(prompts, lengths))


def mixed(prompts: Mapping[str, jax.Array], alphas: Mapping[str, jax.Array]) -> TowerPrompts:
    """Both towers' view of the supernet."""
    return {tower: supernet_prompts(prompts[tower], alphas[tower]) for tower in TOWERS}


def discrete(prompts: Mapping[str, jax.Array], lengths: Mapping[str, Any]) -> TowerPrompts:
    """Both towers' view of prompts of chosen lengths."""
    return {tower: discrete_prompts(prompts[tower], lengths[tower]) for tower in TOWERS}


def image_features(
    clip: Clip,
    images: jax.Array,
    prompts: LayerPrompts | None = None,
    tokens: jax.Array | None = None,
) -> jax.Array:
    """Image features (B, projection_dim) of normalised images (B, H, W, 3), not normalised.

    Learned ``tokens`` (L, n, D) stand in the sequence of the first L layers.
    """
    encode = functools.partial(_image_features, clip.sizes, clip.dtype, clip.remat, clip.mesh)
    return encode(clip.params["image"], images, prompts, tokens)


def text_features(
    clip: Clip,
    texts: Texts | Any,
    prompts: LayerPrompts | None = None,
    tokens: jax.Array | None = None,
) -> jax.Array:
    """Text features (C, projection_dim) of :class:`Texts` or token ids (C, S), not normalised.

    Learned ``tokens`` (L, n, D), or (L, C, n, D) for each class its own, stand in the sequence of
    the first L layers, behind the start-of-text.

    Raises:
      ConfigError: for learned tokens in texts whose prefix was taken out.
    """
    if not isinstance(texts, Texts):
        texts = prepare_texts(texts, clip.sizes.text)
    if tokens is not None and texts.prefix is not None:
        raise ConfigError("Learned tokens need whole texts: Texts without a prefix.")
    own_tokens = None  # (C, L, n, D) where each class has its own
    if tokens is not None and tokens.ndim == 4:
        own_tokens, tokens = tokens.swapaxes(0, 1), None
    static = clip.sizes, clip.dtype, clip.remat, clip.mesh
    whole = clip.params["text"], texts.prefix, prompts, tokens
    encode = functools.partial(_text_features, *static, *whole)
    rows = texts.input_ids, texts.end, own_tokens
    if clip.class_chunks == 1:
        return encode(rows)
    return in_chunks(jax.checkpoint(encode), rows, clip.class_chunks)


def class_logits(
    image_features: jax.Array, text_features: jax.Array, logit_scale: jax.Array
) -> jax.Array:
    """Scaled cosine similarities (B, C) of features (B, F) and (C, F), in float32."""
    images, texts = normalise(image_features), normalise(text_features)
    return jnp.exp(logit_scale) * images @ texts.T


def normalise(features: jax.Array) -> jax.Array:
    """Features (.., F) scaled to length one, in float32 or wider."""
    features = features.astype(jnp.promote_types(features.dtype, jnp.float32))
    return features / jnp.linalg.norm(features, axis=-1, keepdims=True)


def _logits(clip: Clip, images: Any, input_ids: Any, prompts: TowerPrompts) -> jax.Array:
    images = jnp.asarray(images)
    input_ids = input_ids if isinstance(input_ids, jax.core.Tracer) else np.asarray(input_ids)
    check_images(images, clip.sizes.vision)
    check_input_ids(input_ids, clip.sizes.text)
    image = image_features(clip, images, prompts["image"])
    text = text_features(clip, input_ids, prompts["text"])
    return class_logits(image, text, clip.params["logit_scale"])


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _image_features(
    sizes: ClipConfig,
    dtype: str,
    remat: bool,
    mesh: Mesh | None,
    params: Params,
    images: jax.Array,
    prompts: LayerPrompts | None,
    tokens: jax.Array | None,
) -> jax.Array:
    tower = image_tower(sizes, dtype=compute_dtype(dtype), remat=remat)

    def encode(whole: Any, images: jax.Array) -> jax.Array:
        params, prompts, tokens = whole
        features: jax.Array = tower.apply({"params": params}, images, prompts, tokens)
        return features

    return over_devices(encode, (params, prompts, tokens), images, mesh)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _text_features(
    sizes: ClipConfig,
    dtype: str,
    remat: bool,
    mesh: Mesh | None,
    params: Params,
    prefix: jax.Array | None,
    prompts: LayerPrompts | None,
    tokens: jax.Array | None,
    rows: TextRows,
) -> jax.Array:
    tower = text_tower(sizes, dtype=compute_dtype(dtype), remat=remat)

    def encode(whole: Any, rows: TextRows) -> jax.Array:
        (params, prefix, prompts, tokens), (ids, end, own) = whole, rows
        tokens = tokens if own is None else own.swapaxes(0, 1)  # (L, C, n, D)
        features: jax.Array = tower.apply({"params": params}, ids, end, prompts, prefix, tokens)
        return features

    return over_devices(encode, (params, prefix, prompts, tokens), rows, mesh)


def in_chunks(function: Callable[[Any], jax.Array], inputs: Any, chunks: int) -> jax.Array:
    """``function`` of ``inputs`` (leading axis C) in ``chunks`` parts of equal size, one by one.

    The last part is filled up with rows of zeros, whose results are dropped.
    """
    rows = jax.tree.leaves(inputs)[0].shape[0]
    size = -(-rows // chunks)

    def split(leaf: jax.Array) -> jax.Array:
        padding = [(0, chunks * size - rows)] + [(0, 0)] * (leaf.ndim - 1)
        return jnp.pad(leaf, padding).reshape(chunks, size, *leaf.shape[1:])  # (chunks, C/c, ..)

    results = jax.lax.map(function, jax.tree.map(split, inputs))  # (chunks, C/c, F)
    return results.reshape(chunks * size, *results.shape[2:])[:rows]  # (C, F)


def compute_dtype(dtype: str) -> Any:
    """Dtype of the matrix products; None leaves float32 (or float64) parameters as they are."""
    return jnp.bfloat16 if dtype == "bfloat16" else None
