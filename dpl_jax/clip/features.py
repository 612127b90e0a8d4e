"""Features of images and texts by a frozen CLIP, and the logits of classes.

logits = exp(logit_scale) * image feature . text feature, both of length one (Radford et al., 2021,
figure 3). The functions work inside jit, grad and vmap.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dpl_jax.clip.attention import LayerPrompts
from dpl_jax.clip.model import Clip
from dpl_jax.clip.texts import Texts, prepare_texts
from dpl_jax.clip.towers import image_tower, text_tower
from dpl_jax.errors import ConfigError
from dpl_jax.runtime.mesh import over_devices

TowerPrompts = dict[str, LayerPrompts | None]
NO_PROMPTS: TowerPrompts = {"image": None, "text": None}
# Token ids (C, S) and ends (C,) of texts, and tokens (C, L, n, D) where each has its own.
TextRows = tuple[jax.Array, jax.Array, jax.Array | None]


@jax.jit
def image_features(
    clip: Clip,
    images: jax.Array,
    prompts: LayerPrompts | None = None,
    tokens: jax.Array | None = None,
) -> jax.Array:
    """Image features (B, projection_dim) of normalised images (B, H, W, 3), not of length one.

    Learned ``tokens`` (L, n, D) stand in the sequence of the first L layers.
    """
    tower = image_tower(clip.sizes, dtype=compute_dtype(clip.dtype), remat=clip.remat)

    def encode(whole: Any, images: jax.Array) -> jax.Array:
        params, prompts, tokens = whole
        features: jax.Array = tower.apply({"params": params}, images, prompts, tokens)
        return features

    return over_devices(encode, (clip.params["image"], prompts, tokens), images, clip.mesh)


def text_features(
    clip: Clip,
    texts: Texts | Any,
    prompts: LayerPrompts | None = None,
    tokens: jax.Array | None = None,
) -> jax.Array:
    """Text features (C, projection_dim) of :class:`Texts` or token ids (C, S), not of length one.

    Learned ``tokens`` (L, n, D), or (L, C, n, D) for each class its own, stand in the sequence of
    the first L layers, behind the start-of-text.

    Raises:
      ConfigError: for learned tokens in texts whose prefix was taken out.
    """
    if not isinstance(texts, Texts):
        texts = prepare_texts(texts, clip.sizes.text)
    if tokens is not None and texts.prefix is not None:
        raise ConfigError("Learned tokens need whole texts: Texts without a prefix.")
    return _text_features(clip, texts, prompts, tokens)


@jax.jit
def _text_features(
    clip: Clip, texts: Texts, prompts: LayerPrompts | None, tokens: jax.Array | None
) -> jax.Array:
    tower = text_tower(clip.sizes, dtype=compute_dtype(clip.dtype), remat=clip.remat)
    own_tokens = None  # (C, L, n, D) where each class has its own
    if tokens is not None and tokens.ndim == 4:
        own_tokens, tokens = tokens.swapaxes(0, 1), None

    def encode(whole: Any, rows: TextRows) -> jax.Array:
        (params, prefix, prompts, tokens), (ids, end, own) = whole, rows
        tokens = tokens if own is None else own.swapaxes(0, 1)  # (L, C, n, D)
        features: jax.Array = tower.apply({"params": params}, ids, end, prompts, prefix, tokens)
        return features

    whole = clip.params["text"], texts.prefix, prompts, tokens
    encode_rows = functools.partial(over_devices, encode, whole, mesh=clip.mesh)
    rows = texts.input_ids, texts.end, own_tokens
    if clip.class_chunks == 1:
        return encode_rows(rows)
    return in_chunks(jax.checkpoint(encode_rows), rows, clip.class_chunks)


def class_logits(
    image_features: jax.Array, text_features: jax.Array, logit_scale: jax.Array
) -> jax.Array:
    """Scaled cosine similarities (B, C) of features (B, F) and (C, F), in float32."""
    images, texts = to_length_one(image_features), to_length_one(text_features)
    return jnp.exp(logit_scale) * images @ texts.T


def to_length_one(features: jax.Array) -> jax.Array:
    """Features (.., F) scaled to length one, in float32 or wider."""
    features = features.astype(jnp.promote_types(features.dtype, jnp.float32))
    return features / jnp.linalg.norm(features, axis=-1, keepdims=True)


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
