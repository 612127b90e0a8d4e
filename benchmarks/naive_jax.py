"""The method as its formula reads, in JAX: T+1 whole attentions per layer, texts of 77 tokens.

Same parameters and results as dpl_jax (tests/clip/test_speed_equivalence.py), jitted, its layers in
a loop and its elementwise work computed again for the gradient, as in dpl_jax.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dpl_jax.clip.config import ClipConfig, TowerConfig
from dpl_jax.clip.features import class_logits
from dpl_jax.clip.texts import end_positions
from dpl_jax.clip.towers import causal_mask, to_patches
from dpl_jax.clip.transformer import activation
from dpl_jax.training.inputs import Batch
from dpl_jax.training.optimizers import half_step, search_optimizer

Tree = Any


def naive_search_step(
    params: Tree,
    optimizer_state: Any,
    clip: Tree,
    input_ids: jax.Array,
    train_batch: Batch,
    val_batch: Batch,
    *,
    sizes: ClipConfig,
    search: Any,
    steps_per_epoch: int,
) -> tuple[Tree, Any]:
    """One bilevel step, as :func:`dpl_jax.training.steps.search_step`.

    Args:
      params: {"prompts": .., "alphas": ..}.
      optimizer_state: of both groups.
      clip: the frozen parameters.
      input_ids: (C, 77).
      train_batch: images (B, H, W, 3) and labels (B,).
      val_batch: likewise.
      sizes: of the CLIP.
      search: ``config.search``.
      steps_per_epoch: for the schedule.
    """
    optimizer = search_optimizer(search, steps_per_epoch)

    def half(params: Tree, state: Any, group: str, batch: Batch) -> tuple[Tree, Any]:
        images, labels = batch

        def loss(values: Tree) -> jax.Array:
            logits = naive_logits(clip, sizes, images, input_ids, params | {group: values})
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        return half_step(optimizer, params, state, group, jax.grad(loss)(params[group]))

    params, optimizer_state = half(params, optimizer_state, "alphas", val_batch)
    return half(params, optimizer_state, "prompts", train_batch)


def naive_logits(
    clip: Tree, sizes: ClipConfig, images: jax.Array, input_ids: jax.Array, params: Tree
) -> jax.Array:
    """Logits (B, C) of the supernet."""
    prompts, alphas = params["prompts"], params["alphas"]
    image = _image_features(clip["image"], sizes, images, prompts["image"], alphas["image"])
    text = _text_features(clip["text"], sizes, input_ids, prompts["text"], alphas["text"])
    return class_logits(image, text, clip["logit_scale"])


def _image_features(
    params: Tree, sizes: ClipConfig, images: jax.Array, prompts: jax.Array, alphas: jax.Array
) -> jax.Array:
    x = to_patches(images, sizes.vision.patch_size) @ params["patch_embedding"]["kernel"]
    first = jnp.broadcast_to(params["class_embedding"], (len(x), 1, x.shape[-1]))
    x = jnp.concatenate([first, x], axis=1) + params["position_embedding"]  # (B, S, D)
    x = _norm(params["pre_layernorm"], sizes.vision, x)
    x = _layers(params["encoder"]["layers"], sizes.vision, x, prompts, alphas, None)
    x = _norm(params["post_layernorm"], sizes.vision, x[:, 0])
    return x @ params["projection"]["kernel"]


def _text_features(
    params: Tree, sizes: ClipConfig, input_ids: jax.Array, prompts: jax.Array, alphas: jax.Array
) -> jax.Array:
    x = params["token_embedding"]["embedding"][input_ids]  # (C, 77, D)
    x = x + params["position_embedding"][: x.shape[1]]
    mask = causal_mask(x.shape[1])
    x = _layers(params["encoder"]["layers"], sizes.text, x, prompts, alphas, mask)
    x = x[jnp.arange(len(x)), end_positions(input_ids, sizes.text)]
    return _norm(params["final_layer_norm"], sizes.text, x) @ params["projection"]["kernel"]


def _layers(
    stacked: Tree,
    config: TowerConfig,
    x: jax.Array,
    prompts: jax.Array,
    alphas: jax.Array,
    mask: jax.Array | None,
) -> jax.Array:
    def layer(x: jax.Array, inputs: tuple[Tree, jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        params, rows, alpha = inputs
        x = x + _mixture(params, config, x, rows, jax.nn.softmax(alpha), mask)
        y = _norm(params["layer_norm2"], config, x)
        y = activation(config.hidden_act, _dense(params["fc1"], y))
        return x + _dense(params["fc2"], y), None

    # Nor would the elementwise work of a whole tower.
    policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
    layer = jax.checkpoint(layer, policy=policy, prevent_cse=False)
    return jax.lax.scan(layer, x, (stacked, prompts, alphas))[0]


def _mixture(
    params: Tree,
    config: TowerConfig,
    x: jax.Array,
    rows: jax.Array,
    weights: jax.Array,
    mask: jax.Array | None,
) -> jax.Array:
    """sum_m a_m MHA(q = LN1(x), kv = LN1([x; E_m])), each computed by itself."""
    total = jnp.zeros_like(x)
    for size in range(len(weights)):
        start = size * (size - 1) // 2
        own = jnp.broadcast_to(rows[start : start + size], (len(x), size, x.shape[-1]))
        seen = jnp.concatenate([x, own], axis=1)  # (B, S + m, D)
        keys_mask = None
        if mask is not None:
            keys_mask = jnp.pad(mask, ((0, 0), (0, size)), constant_values=True)  # (S, S + m)
        queries, seen = (_norm(params["layer_norm1"], config, y) for y in (x, seen))
        total += weights[size] * _attention(params["attention"], config, queries, seen, keys_mask)
    return total


def _attention(
    params: Tree,
    config: TowerConfig,
    queries: jax.Array,
    seen: jax.Array,
    mask: jax.Array | None,
) -> jax.Array:
    heads = config.num_attention_heads

    def split(name: str, y: jax.Array) -> jax.Array:
        y = _dense(params[name], y)
        return y.reshape(*y.shape[:-1], heads, -1)  # (B, S, H, d)

    # The scores of T+1 attentions at once would not fit into memory.
    attend = jax.checkpoint(functools.partial(jax.nn.dot_product_attention, mask=mask))
    attended = attend(split("query", queries), split("key", seen), split("value", seen))
    return _dense(params["out"], attended.reshape(queries.shape))


def _dense(params: Tree, x: jax.Array) -> jax.Array:
    return x @ params["kernel"] + params["bias"]


def _norm(params: Tree, config: TowerConfig, x: jax.Array) -> jax.Array:
    return jax.nn.standardize(x, epsilon=config.layer_norm_eps) * params["scale"] + params["bias"]
