"""CLIP with learned tokens in its sequences, layer by layer as the papers draw it, without a scan.

The tokens stand at the positions 1..n of both towers (ours stand behind the patches of an image,
which must not matter). Precision follows the inputs: float64 inside ``jax.enable_x64``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from tests.support import naive

Tensors = Mapping[str, Any]


def slow_logits(image: jax.Array, text: jax.Array, logit_scale: Any) -> jax.Array:
    """(B, C) from features (B, F) and (C, F)."""
    rows = []
    for one in image:
        angles = [one @ each / jnp.sqrt((one @ one) * (each @ each)) for each in text]
        rows.append(jnp.exp(logit_scale) * jnp.stack(angles))
    return jnp.stack(rows)


def slow_image_features(
    tensors: Tensors, config: Mapping[str, Any], images: Any, tokens: Sequence[Any]
) -> jax.Array:
    """Image features (B, F) of (B, H, W, 3); tokens (n, D) of each of the first layers."""
    patch, side = config["patch_size"], config["image_size"]
    kernel = tensors["vision_model.embeddings.patch_embedding.weight"]  # (D, 3, p, p)
    positions = tensors["vision_model.embeddings.position_embedding.weight"]

    def encode(image: jax.Array) -> jax.Array:
        rows = [tensors["vision_model.embeddings.class_embedding"]]
        for top in range(0, side, patch):
            for left in range(0, side, patch):
                cut = image[top : top + patch, left : left + patch]  # (p, p, 3)
                rows.append(jnp.einsum("hwc,dchw->d", cut, kernel))
        x = jnp.stack(rows) + positions  # (S, D)
        x = jnp.concatenate([x[:1], *tokens[:1], x[1:]])  # (S + n, D)
        x = naive._norm(tensors, config, "vision_model.pre_layrnorm", x)
        x = _layers(tensors, config, "vision_model", x, tokens, causal=False)
        x = naive._norm(tensors, config, "vision_model.post_layernorm", x[0])
        return x @ tensors["visual_projection.weight"].T

    return jax.vmap(encode)(images)


def slow_text_features(
    tensors: Tensors,
    config: Mapping[str, Any],
    texts: Sequence[Sequence[int]],
    tokens: Sequence[Any],
) -> jax.Array:
    """Text features (C, F) of token ids without places; the tokens go behind the first id."""
    embedding = tensors["text_model.embeddings.token_embedding.weight"]
    positions = tensors["text_model.embeddings.position_embedding.weight"]
    features = []
    for ids in texts:
        words = embedding[jnp.asarray(ids)]
        x = jnp.concatenate([words[:1], *tokens[:1], words[1:]])  # (S + n, D)
        x = x + positions[: len(x)]
        x = _layers(tensors, config, "text_model", x, tokens, causal=True)
        x = naive._norm(tensors, config, "text_model.final_layer_norm", x[-1])
        features.append(x @ tensors["text_projection.weight"].T)
    return jnp.stack(features)


def _layers(
    tensors: Tensors,
    config: Mapping[str, Any],
    model: str,
    x: jax.Array,
    tokens: Sequence[Any],
    causal: bool,
) -> jax.Array:
    """One row (S, D) through all layers."""
    for number in range(config["num_hidden_layers"]):
        prefix = f"{model}.encoder.layers.{number}"
        if 0 < number < len(tokens):
            own = tokens[number]
            x = jnp.concatenate([x[:1], own, x[1 + len(own) :]])
        y = naive._norm(tensors, config, f"{prefix}.layer_norm1", x)
        x = x + _attention(tensors, config["num_attention_heads"], f"{prefix}.self_attn", y, causal)
        y = naive._norm(tensors, config, f"{prefix}.layer_norm2", x)
        y = naive._gelu(naive._dense(tensors, f"{prefix}.mlp.fc1", y), config["hidden_act"])
        x = x + naive._dense(tensors, f"{prefix}.mlp.fc2", y)
    return x


def _attention(tensors: Tensors, heads: int, prefix: str, y: jax.Array, causal: bool) -> jax.Array:
    query, key, value = (naive._dense(tensors, f"{prefix}.{name}_proj", y) for name in "qkv")
    mask = jnp.tril(jnp.ones((len(y), len(y)), bool)) if causal else None
    split = [part.reshape(1, len(y), heads, -1) for part in (query, key, value)]  # (1, S, H, d)
    mixed = naive.naive_attention(*split, mask).reshape(y.shape)
    return naive._dense(tensors, f"{prefix}.out_proj", mixed)
