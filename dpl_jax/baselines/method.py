"""What a baseline that is trained by gradient consists of."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import jax

from dpl_jax.clip.features import class_logits
from dpl_jax.clip.model import Clip
from dpl_jax.data.split import Dataset
from dpl_jax.errors import ConfigError
from dpl_jax.prompts.trees import TOWERS

# The learned arrays by name; tokens of a tower under its name, (L, n, D) or (L, C, n, D).
Params: TypeAlias = dict[str, jax.Array]


class Method(Protocol):
    """A way of learning prompts for a frozen CLIP.

    Methods are frozen dataclasses of their settings, so that one can be a static argument of
    ``jax.jit``. ``text``, ``image`` and ``logits`` work inside jit, grad and vmap over parameters.
    """

    def inputs(self, clip: Clip, dataset: Dataset) -> Any:
        """Arrays that follow from the classes and do not change in training, as a pytree.

        Raises:
          TextTooLongError: when a class name leaves no room for the learned tokens.
        """

    def init(self, clip: Clip, inputs: Any, seed: int) -> Params:
        """The parameters before training, float32.

        Args:
          clip: a frozen CLIP.
          inputs: of :meth:`inputs`.
          seed: of the run.
        """

    def text(self, params: Params, clip: Clip, inputs: Any) -> jax.Array:
        """Text features (C, F) of the classes, not normalised."""

    def image(self, params: Params, clip: Clip, inputs: Any, images: jax.Array) -> jax.Array:
        """Image features (B, F) of normalised images (B, H, W, 3), not normalised."""

    def logits(self, params: Params, clip: Clip, inputs: Any, images: jax.Array) -> jax.Array:
        """Class logits (B, C) of normalised images (B, H, W, 3)."""
        image = self.image(params, clip, inputs, images)  # (B, F)
        text = self.text(params, clip, inputs)  # (C, F)
        return class_logits(image, text, clip.params["logit_scale"])

    def prompt_tokens(self, params: Params) -> int:
        """Learned tokens of both towers and all layers, each class's own counted too."""
        return sum(params[tower][..., 0].size for tower in TOWERS if tower in params)


def count_parameters(params: Params) -> int:
    """How many numbers are learned."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def check_settings(tokens: int, depth: int = 1) -> None:
    """Raises ConfigError for a negative number of tokens, or when no layer would have any."""
    if tokens < 0 or depth < 1:
        raise ConfigError(
            f"tokens is {tokens} and depth {depth}; tokens must be at least 0, and depth at least "
            "1: tokens in the input alone."
        )
