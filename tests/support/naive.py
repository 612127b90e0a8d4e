"""The obvious, slow versions: T+1 attentions per layer, and a whole CLIP on its stored tensors.

Nothing here imports dpl_jax. Precision follows the inputs: float64 inside ``jax.enable_x64``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

LEGACY_EOS_ID = 2
# A layer's prompts: the weight of each candidate, and the rows (m, D) of each.
Layer = tuple[Any, Sequence[Any]]


def naive_attention(query: Any, key: Any, value: Any, mask: Any = None) -> jax.Array:
    """Softmax attention of (B, S, H, d) over (B, K, H, d); mask (S, K), true where seen."""
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) / math.sqrt(query.shape[-1])
    if mask is not None:
        scores = jnp.where(mask, scores, -jnp.inf)
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores, axis=-1), value)


def naive_mixture(
    query: Any,
    key: Any,
    value: Any,
    weights: Any,
    candidates: Sequence[tuple[Any, Any]],
    mask: Any = None,
) -> jax.Array:
    """sum_m a_m attention(query, [key; K_m], [value; V_m]), candidates (m, H, d) seen by all."""
    total = jnp.zeros_like(query)
    for number, (extra_key, extra_value) in enumerate(candidates):
        seen = None
        if mask is not None:
            rows = jnp.ones((query.shape[1], extra_key.shape[0]), bool)
            seen = jnp.concatenate([mask, rows], axis=1)
        keys = jnp.concatenate([key, _for_batch(extra_key, key)], axis=1)
        values = jnp.concatenate([value, _for_batch(extra_value, value)], axis=1)
        total += weights[number] * naive_attention(query, keys, values, seen)
    return total


def naive_prompt_mass(
    tensors: Mapping[str, Any],
    config: Mapping[str, Any],
    model: str,
    x: Any,
    layers: Sequence[Layer],
    mask: Any = None,
) -> list[jax.Array]:
    """Each layer's attention to prompt rows (B, H, S), from the embedded tokens (B, S, D).

    sum_m a_m of the softmax over [tokens; E_m], the entries of the rows summed.
    """
    masses = []
    for number, (weights, prompts) in enumerate(layers):
        earlier = {**config, "num_hidden_layers": number}
        hidden = _encoder(tensors, earlier, model, x, layers, mask)
        total = jnp.zeros(())
        for weight, rows in zip(weights, prompts, strict=True):
            prefix = f"{model}.encoder.layers.{number}"
            total += weight * _rows_mass(tensors, config, prefix, hidden, rows, mask)
        masses.append(total)
    return masses


def _rows_mass(
    tensors: Mapping[str, Any], config: Mapping[str, Any], prefix: str, x: Any, rows: Any, mask: Any
) -> jax.Array:
    """The part (B, H, S) of one softmax over tokens (B, S, D) and rows (m, D) that rows get."""

    def heads(name: str, y: Any) -> Any:
        y = _norm(tensors, config, f"{prefix}.layer_norm1", y)
        return _heads(tensors, config, f"{prefix}.self_attn.{name}_proj", y)

    query, key = heads("q", x), heads("k", x)
    keys = jnp.concatenate([key, _for_batch(heads("k", rows), key)], axis=1)
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, keys) / math.sqrt(key.shape[-1])
    if mask is not None:
        seen = jnp.concatenate([mask, jnp.ones((len(mask), len(rows)), bool)], axis=1)
        scores = jnp.where(seen, scores, -jnp.inf)
    return jax.nn.softmax(scores, axis=-1)[..., key.shape[1] :].sum(axis=-1)


def split_candidates(rows: Any, max_context_length: int) -> list[Any]:
    """E_0 (no rows), E_1, .. E_T from rows (P, ..) in the order of the supernet."""
    starts = [size * (size - 1) // 2 for size in range(max_context_length + 1)]
    return [rows[start : start + size] for size, start in enumerate(starts)]


def supernet_layers(prompts: Any, alphas: Any) -> list[Layer]:
    """The layers of one tower of the supernet, from (N, P, D) and (N, T + 1)."""
    weights = jnp.exp(alphas) / jnp.exp(alphas).sum(axis=-1, keepdims=True)
    longest = alphas.shape[1] - 1
    return [(weights[i], split_candidates(prompts[i], longest)) for i in range(len(prompts))]


def chosen_layers(prompts: Any, lengths: Sequence[int]) -> list[Layer]:
    """The layers of one tower with one length each, from (N, K, D)."""
    return [([1.0], [prompts[i][: lengths[i]]]) for i in range(len(prompts))]


def naive_logits(
    tensors: Mapping[str, Any],
    config: Mapping[str, Any],
    images: Any,
    input_ids: np.ndarray,
    image_layers: Sequence[Layer] | None = None,
    text_layers: Sequence[Layer] | None = None,
) -> jax.Array:
    """Class logits (B, C) from tensors and config in Hugging Face's form; images (B, 3, H, W)."""
    image = naive_image_features(tensors, config["vision_config"], images, image_layers)
    text = naive_text_features(tensors, config["text_config"], input_ids, text_layers)
    image /= jnp.sqrt((image**2).sum(axis=-1, keepdims=True))
    text /= jnp.sqrt((text**2).sum(axis=-1, keepdims=True))
    return jnp.exp(tensors["logit_scale"]) * image @ text.T


def naive_image_features(
    tensors: Mapping[str, Any],
    config: Mapping[str, Any],
    images: Any,
    layers: Sequence[Layer] | None = None,
) -> jax.Array:
    """Image features (B, F) of images (B, 3, H, W)."""
    x = naive_image_embedding(tensors, config, images)
    x = _encoder(tensors, config, "vision_model", x, layers, None)
    x = _norm(tensors, config, "vision_model.post_layernorm", x[:, 0])
    return x @ tensors["visual_projection.weight"].T


def naive_image_embedding(
    tensors: Mapping[str, Any], config: Mapping[str, Any], images: Any
) -> jax.Array:
    """What the first layer is given of images (B, 3, H, W): (B, S, D)."""
    patch = config["patch_size"]
    kernel = tensors["vision_model.embeddings.patch_embedding.weight"]
    x = jax.lax.conv_general_dilated(images, kernel, (patch, patch), "VALID")  # (B, D, h, w)
    x = x.reshape(*x.shape[:2], -1).swapaxes(1, 2)  # (B, h * w, D)
    class_token = tensors["vision_model.embeddings.class_embedding"]
    x = jnp.concatenate([_for_batch(class_token[None], x), x], axis=1)
    x = x + tensors["vision_model.embeddings.position_embedding.weight"]
    return _norm(tensors, config, "vision_model.pre_layrnorm", x)


def naive_text_features(
    tensors: Mapping[str, Any],
    config: Mapping[str, Any],
    input_ids: np.ndarray,
    layers: Sequence[Layer] | None = None,
) -> jax.Array:
    """Text features (C, F) of ids (C, S)."""
    x = naive_text_embedding(tensors, input_ids)
    x = _encoder(tensors, config, "text_model", x, layers, naive_causal_mask(x.shape[1]))
    x = _norm(tensors, config, "text_model.final_layer_norm", x)
    ends = [_end(row, config["eos_token_id"]) for row in input_ids.tolist()]
    x = jnp.stack([x[row, end] for row, end in enumerate(ends)])
    return x @ tensors["text_projection.weight"].T


def naive_text_embedding(tensors: Mapping[str, Any], input_ids: np.ndarray) -> jax.Array:
    """What the first layer is given of ids (C, S): (C, S, D)."""
    x = tensors["text_model.embeddings.token_embedding.weight"][input_ids]
    return x + tensors["text_model.embeddings.position_embedding.weight"][: input_ids.shape[1]]


def naive_causal_mask(length: int) -> jax.Array:
    """(S, S), true where a query (row) may look."""
    return jnp.arange(length)[:, None] >= jnp.arange(length)


def _end(row: list[int], eos: int) -> int:
    return row.index(max(row) if eos == LEGACY_EOS_ID else eos)


def _encoder(
    tensors: Mapping[str, Any],
    config: Mapping[str, Any],
    model: str,
    x: Any,
    layers: Sequence[Layer] | None,
    mask: Any,
) -> Any:
    nothing = ([1.0], [jnp.zeros((0, x.shape[-1]), x.dtype)])
    for number in range(config["num_hidden_layers"]):
        prefix = f"{model}.encoder.layers.{number}"
        layer = nothing if layers is None else layers[number]
        x = x + _self_attention(tensors, config, prefix, x, layer, mask)
        y = _norm(tensors, config, f"{prefix}.layer_norm2", x)
        y = _gelu(_dense(tensors, f"{prefix}.mlp.fc1", y), config["hidden_act"])
        x = x + _dense(tensors, f"{prefix}.mlp.fc2", y)
    return x


def _self_attention(
    tensors: Mapping[str, Any],
    config: Mapping[str, Any],
    prefix: str,
    x: Any,
    layer: Layer,
    mask: Any,
) -> Any:
    def heads(name: str, rows: Any) -> Any:
        return _heads(tensors, config, f"{prefix}.self_attn.{name}_proj", rows)

    weights, prompts = layer
    x = _norm(tensors, config, f"{prefix}.layer_norm1", x)
    rows = [_norm(tensors, config, f"{prefix}.layer_norm1", prompt) for prompt in prompts]
    candidates = [(heads("k", row), heads("v", row)) for row in rows]
    mixed = naive_mixture(heads("q", x), heads("k", x), heads("v", x), weights, candidates, mask)
    return _dense(tensors, f"{prefix}.self_attn.out_proj", mixed.reshape(x.shape))


def _heads(tensors: Mapping[str, Any], config: Mapping[str, Any], name: str, rows: Any) -> Any:
    y, count = _dense(tensors, name, rows), config["num_attention_heads"]
    return y.reshape(*y.shape[:-1], count, y.shape[-1] // count)  # (.., H, d)


def _dense(tensors: Mapping[str, Any], name: str, x: Any) -> Any:
    return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]


def _norm(tensors: Mapping[str, Any], config: Mapping[str, Any], name: str, x: Any) -> Any:
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    scaled = centred / jnp.sqrt(variance + config["layer_norm_eps"])
    return scaled * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]


def _gelu(x: Any, kind: str) -> Any:
    if kind == "quick_gelu":
        return x / (1 + jnp.exp(-1.702 * x))
    return x * 0.5 * (1 + jax.lax.erf(x / math.sqrt(2)))


def _for_batch(rows: Any, like: Any) -> jax.Array:
    """Repeats rows (m, ..) for every element of a batch (B, ..)."""
    return jnp.broadcast_to(rows, (like.shape[0], *rows.shape))
