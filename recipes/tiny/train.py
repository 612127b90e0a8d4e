"""The pretraining loop of the tiny CLIP."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import optax
from flax import struct

from dpl_jax.clip.config import ClipConfig
from dpl_jax.clip.preprocessing import CLIP_MEAN, CLIP_STD
from dpl_jax.clip.tokenizer import Tokenizer
from dpl_jax.clip.towers import image_tower, text_tower
from dpl_jax.clip.weights import Params, init_params
from dpl_jax.data.transforms import normalise
from dpl_jax.errors import NumericsError
from dpl_jax.runtime.progress import progress
from recipes.contrastive import contrastive_loss, proxy_loss, true_captions
from recipes.sizes import clip_config
from recipes.tiny.atlas import build_atlas
from recipes.tiny.batches import Batch, make_batch
from recipes.tiny.compose import compose
from recipes.tiny.scenes import ATTRIBUTES
from recipes.tiny.vocabulary import THINGS
from recipes.tokenizer_training import padded_tokenizer

MAX_LOGIT_SCALE = math.log(100)  # Radford et al. (2021), section 2.5


@struct.dataclass
class TrainState:
    """Everything a step changes.

    Attributes:
      params: the CLIP being trained, and the proxies.
      average: exponential moving average of params, the weights that are kept.
      opt_state: of the optimiser.
      step: steps done, int32.
    """

    params: Params
    average: Params
    opt_state: optax.OptState
    step: jax.Array


def make_optimizer(config: ml_collections.ConfigDict) -> optax.GradientTransformation:
    """Returns AdamW with warm-up, cosine decay and clipped gradients, as CLIP was trained."""
    warmup = min(config.warmup_steps, config.steps // 2)
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, warmup, config.steps, config.learning_rate * 0.01
    )
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.adamw(schedule, b2=config.b2, weight_decay=config.weight_decay, mask=_decayed),
    )


def _decayed(params: Params) -> Params:
    """Marks the matrices: gains, biases and the logit scale are not decayed."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: getattr(path[-1], "key", "") in ("kernel", "embedding"), params
    )


def create_state(config: ml_collections.ConfigDict, sizes: ClipConfig) -> TrainState:
    """Returns the state before the first step."""

    @jax.jit
    def create(key: jax.Array) -> TrainState:
        params = init_params(sizes, key)
        # Next to patches of unit scale, CLIP's 0.02 would hide where a patch is for too long.
        position = params["image"]["position_embedding"]
        params["image"]["position_embedding"] = config.position_scale / 0.02 * position
        proxy_key = jax.random.fold_in(key, len(THINGS))
        params["proxies"] = jax.random.normal(proxy_key, (len(THINGS), sizes.projection_dim))
        opt_state = make_optimizer(config).init(params)
        average = jax.tree.map(jnp.copy, params)
        return TrainState(params, average, opt_state, jnp.zeros((), jnp.int32))

    return create(jax.random.key(config.seed))


def batch_loss(
    params: Params, sizes: ClipConfig, images: jax.Array, batch: Batch, proxy_weight: float
) -> jax.Array:
    """Returns the contrastive loss of images (B, H, W, 3) in 0..1 and their captions.

    To it comes the proxies' loss of images and captions, times `proxy_weight`.
    """
    images = normalise(images * 255, CLIP_MEAN, CLIP_STD)
    seen = image_tower(sizes).apply({"params": params["image"]}, images)  # (B, F)
    ids, end = batch["input_ids"], batch["end"]
    read = text_tower(sizes).apply({"params": params["text"]}, ids, end)  # (B, F)
    true = true_captions(batch["attributes"], batch["mentions"])
    loss = contrastive_loss(seen, read, params["logit_scale"], true)
    column = ATTRIBUTES.index("thing")
    thing, mentioned = batch["attributes"][:, column], batch["mentions"][:, column]
    for features, counted in ((seen, jnp.ones_like(mentioned)), (read, mentioned)):
        arguments = (features, params["proxies"], params["logit_scale"], thing, counted)
        loss += proxy_weight / 2 * proxy_loss(*arguments)
    return loss


def make_train_step(
    config: ml_collections.ConfigDict, sizes: ClipConfig
) -> Callable[[TrainState, jax.Array, Batch], tuple[TrainState, jax.Array]]:
    """Returns the jitted step: state, atlas masks and batch to the next state and the loss."""
    optimizer = make_optimizer(config)

    def train_step(state: TrainState, masks: jax.Array, batch: Batch) -> tuple[Any, jax.Array]:
        key = jax.random.fold_in(jax.random.key(config.seed), state.step)
        images = compose(key, masks, batch["pixels"], config.image_size)
        loss, grads = jax.value_and_grad(batch_loss)(
            state.params, sizes, images, batch, config.proxy_weight
        )
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        params["logit_scale"] = jnp.clip(params["logit_scale"], 0, MAX_LOGIT_SCALE)
        # The average forgets the random start quickly, then has the configured memory.
        decay = jnp.minimum(config.ema_decay, (1 + state.step) / (10 + state.step))
        average = optax.incremental_update(params, state.average, 1 - decay)
        return TrainState(params, average, opt_state, state.step + 1), loss

    return jax.jit(train_step, donate_argnums=0)


def pretrain(
    config: ml_collections.ConfigDict, tokenizer_folder: Path
) -> tuple[Params, ClipConfig, dict[str, Any]]:
    """Trains a tiny CLIP from scratch.

    Args:
      config: the recipe, see recipes/tiny/config.py.
      tokenizer_folder: holds the tokenizer's files.

    Returns:
      The averaged parameters, the sizes, and what to record: steps, seconds, mean last loss.

    Raises:
      NumericsError: when the loss is not finite.
    """
    start = time.monotonic()
    sizes = clip_config(config)
    atlas = build_atlas(config.seed, config.handwritten_masks, config.texture_masks)
    tokenizer = Tokenizer(str(tokenizer_folder), config.context_length)
    batch_at = functools.partial(
        make_batch,
        config.seed,
        size=config.batch_size,
        atlas=atlas,
        category_weights=config.category_weights,
        handwritten_share=config.handwritten_share,
        tokenize=padded_tokenizer(tokenizer, config.caption_length),
    )
    average, loss = _run_steps(config, sizes, jnp.asarray(atlas.masks), batch_at)
    params = {name: average[name] for name in ("image", "text", "logit_scale")}
    seconds = round(time.monotonic() - start)
    return params, sizes, {"steps": config.steps, "seconds": seconds, "last_loss": loss}


def _run_steps(
    config: ml_collections.ConfigDict,
    sizes: ClipConfig,
    masks: jax.Array,
    batch_at: Callable[[int], Batch],
) -> tuple[Params, float]:
    """Takes all steps; returns the averaged parameters and the mean loss since the last report."""
    state, train_step = create_state(config, sizes), make_train_step(config, sizes)
    mean_loss, losses = math.nan, []
    with progress(config.steps, "pretrain") as bar:
        for step in range(config.steps):
            state, loss = train_step(state, masks, batch_at(step))
            losses.append(loss)
            if (step + 1) % config.log_every == 0 or step + 1 == config.steps:
                mean_loss = _finite(sum(map(float, losses)) / len(losses), step)
                bar.update(step + 1, loss=mean_loss)
                losses = []
    return state.average, round(mean_loss, 4)


def _finite(loss: float, step: int) -> float:
    if not math.isfinite(loss):
        raise NumericsError(f"The loss is {loss} at step {step}; lower learning_rate.")
    return loss
