"""Checks of what is handed to the logits functions and a classifier: shapes and kinds.

Those of arrays also work inside jit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dpl_jax.clip.config import ClipConfig, TextConfig, VisionConfig
from dpl_jax.data.class_names import first_same, one_text, spoken, undecodable
from dpl_jax.errors import ConfigError
from dpl_jax.prompts.trees import TOWERS


def check_images(images: jax.Array, config: VisionConfig) -> None:
    """Raises ConfigError unless images are floats (B, H, W, 3) of the tower's size."""
    side, channels = config.image_size, config.num_channels
    if images.ndim != 4 or images.shape[1:] != (side, side, channels):
        raise ConfigError(
            f"images have the shape {images.shape}; this CLIP takes "
            f"(B, {side}, {side}, {channels})."
        )
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ConfigError(
            f"images are {images.dtype}; the image tower takes normalised floats, as "
            "dpl_jax.data.transforms.normalise makes them from grey levels."
        )


def check_input_ids(input_ids: Any, config: TextConfig) -> None:
    """Raises ConfigError unless ids are whole numbers (C, S) that the text tower knows."""
    longest, vocabulary = config.max_position_embeddings, config.vocab_size
    if input_ids.ndim != 2 or not 1 <= input_ids.shape[1] <= longest or not input_ids.shape[0]:
        raise ConfigError(
            f"input_ids have the shape {input_ids.shape}; the text tower takes (C, S), one row a "
            f"class and S at most its {longest} positions, as clip.tokenize gives them."
        )
    if not jnp.issubdtype(input_ids.dtype, jnp.integer):
        raise ConfigError(f"input_ids are {input_ids.dtype}; they must be whole numbers.")
    if isinstance(input_ids, jax.core.Tracer):
        return  # their values are not known yet
    low, high = int(input_ids.min()), int(input_ids.max())
    if low < 0 or high >= vocabulary:
        raise ConfigError(
            f"input_ids reach from {low} to {high}, but this CLIP's vocabulary has ids from 0 to "
            f"{vocabulary - 1}; tokenize with its own clip.tokenize."
        )


def check_prompts(prompts: Mapping[str, Any], sizes: ClipConfig) -> None:
    """Raises ConfigError unless both towers have prompts (N, rows, D)."""
    for tower in TOWERS:
        layers, width = sizes.layers[tower], sizes.widths[tower]
        shape = _shape(prompts, tower, "prompts")
        if len(shape) != 3 or shape[::2] != (layers, width):
            raise ConfigError(
                f'prompts["{tower}"] have the shape {shape}; the {tower} tower has {layers} layers '
                f"of width {width}, so it takes ({layers}, rows, {width})."
            )


def check_alphas(alphas: Mapping[str, Any], sizes: ClipConfig) -> None:
    """Raises ConfigError unless both towers have alphas (N, T + 1)."""
    for tower in TOWERS:
        layers, shape = sizes.layers[tower], _shape(alphas, tower, "alphas")
        if len(shape) != 2 or shape[0] != layers:
            raise ConfigError(
                f'alphas["{tower}"] have the shape {shape}; the {tower} tower has {layers} layers, '
                f"so it takes ({layers}, T + 1)."
            )


def check_prompt_lengths(
    lengths: Mapping[str, Any], prompts: Mapping[str, Any], sizes: ClipConfig
) -> None:
    """Raises ConfigError unless every layer has a length that its prompts have rows for."""
    for tower in TOWERS:
        layers, shape = sizes.layers[tower], _shape(lengths, tower, "lengths")
        if shape != (layers,):
            raise ConfigError(
                f'lengths["{tower}"] have the shape {shape}; the {tower} tower has {layers} '
                f"layers, so it takes ({layers},)."
            )
        if isinstance(lengths[tower], jax.core.Tracer):
            continue  # their values are not known yet
        values, rows = np.asarray(lengths[tower]), prompts[tower].shape[1]
        if (values < 0).any() or (values > rows).any():
            raise ConfigError(
                f'lengths["{tower}"] are {values.tolist()}, but prompts["{tower}"] have '
                f"{rows} rows per layer; lengths reach from 0 to that."
            )


def check_classnames(
    classnames: Any, *, same_texts: bool = False, same_names: bool = False
) -> tuple[str, ...]:
    """The class names as a tuple.

    Args:
      classnames: of the C classes.
      same_texts: whether the tokenizer may take two for one, because they have texts of their own.
      same_names: whether two may be equal, as in ImageNet's list for CLIP.

    Raises:
      ConfigError: unless there is at least one and all are different, non-empty texts.
    """
    names = () if isinstance(classnames, str) else tuple(classnames)
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise ConfigError(f"The classes must be a list of names, not {str(classnames)[:80]!r}.")
    if reason := next(filter(None, map(undecodable, names)), ""):
        raise ConfigError(f"{reason}; give another name.")
    if not same_names and (twice := first_same(names)):
        raise ConfigError(f"The class {names[twice[0]]!r} is given more than once.")
    if not (same_names or same_texts) and (same := first_same(map(spoken, names))):
        raise ConfigError(one_text(names[same[0]], names[same[1]]))
    return names


def _shape(tree: Mapping[str, Any], tower: str, name: str) -> tuple[int, ...]:
    if tower not in tree:
        raise ConfigError(f'{name} lack "{tower}"; they are a dict of "image" and "text".')
    return np.shape(tree[tower])
