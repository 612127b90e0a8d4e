"""Class logits of a frozen CLIP: zero-shot, with the supernet's prompts, with chosen prompts.

They check what they are given; what is inside the training's step does not
(:mod:`dpl_jax.clip.features`). The functions work inside jit, grad and vmap.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dpl_jax.clip.features import (
    NO_PROMPTS,
    TowerPrompts,
    class_logits,
    image_features,
    text_features,
)
from dpl_jax.clip.model import Clip
from dpl_jax.prompts.checks import (
    check_alphas,
    check_images,
    check_input_ids,
    check_prompt_lengths,
    check_prompts,
)
from dpl_jax.prompts.learned import Discrete, Supernet


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
    return _logits(clip, images, input_ids, Supernet(prompts, alphas).view())


def prompted_logits(
    clip: Clip,
    images: Any,
    input_ids: Any,
    prompts: Mapping[str, jax.Array],
    lengths: Mapping[str, Any],
) -> jax.Array:
    """Logits (B, C) with one prompt length per layer (stage 2).

    Args:
      clip: a frozen CLIP.
      images: (B, H, W, 3) normalised floats.
      input_ids: (C, S) token ids.
      prompts: {"image": (N, K, D), "text": (N, K, D)}.
      lengths: {"image": (N,), "text": (N,)}; rows beyond a layer's length do nothing.
    """
    check_prompts(prompts, clip.sizes)
    check_prompt_lengths(lengths, prompts, clip.sizes)
    return _logits(clip, images, input_ids, Discrete(prompts, lengths).view())


def _logits(clip: Clip, images: Any, input_ids: Any, prompts: TowerPrompts) -> jax.Array:
    images = jnp.asarray(images)
    input_ids = input_ids if isinstance(input_ids, jax.core.Tracer) else np.asarray(input_ids)
    check_images(images, clip.sizes.vision)
    check_input_ids(input_ids, clip.sizes.text)
    image = image_features(clip, images, prompts["image"])
    text = text_features(clip, input_ids, prompts["text"])
    return class_logits(image, text, clip.params["logit_scale"])
