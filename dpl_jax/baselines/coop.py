"""CoOp: learned vectors in place of the words in front of the class name."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from dpl_jax.baselines.context import (
    SCALE,
    ContextTexts,
    random_context,
    word_context,
    word_embeddings,
)
from dpl_jax.baselines.method import Method, Params, check_settings
from dpl_jax.clip.features import image_features, text_features
from dpl_jax.clip.model import Clip
from dpl_jax.data.split import Dataset


@dataclasses.dataclass(frozen=True)
class CoOp(Method):
    """Context optimisation (Zhou et al., IJCV 2022, arXiv 2109.01134, section 3.2).

    Every class has the text ``[v_1] .. [v_M] [class name] .``, the v shared by all classes or each
    class's own. As published: M = 16, normal(0, 0.02) at the start, the class name at the end; SGD
    of rate 2e-3, cosine with one warm-up epoch of 1e-5, batches of 32; 200 epochs at 16 and 8
    shots, 100 at 4 and 2, 50 at 1 and on ImageNet (github.com/KaiyangZhou/CoOp).

    Attributes:
      tokens: M; not used with ``words``.
      class_specific: each class learns vectors of its own.
      words: start from the words of the dataset's template in front of the class name, as many as
        it has; what stands behind the class name stays.
    """

    tokens: int = 16
    class_specific: bool = False
    words: bool = False

    def __post_init__(self) -> None:
        check_settings(self.tokens)

    def inputs(self, clip: Clip, dataset: Dataset) -> ContextTexts:
        """The texts with places for the vectors.

        Raises:
          ConfigError: when the template has no words in front of the class name to start from.
          TextTooLongError: when a class name leaves no room for the vectors.
        """
        if self.words:
            return word_context(clip, dataset, dataset.template)
        return random_context(clip, dataset, self.tokens)

    def init(self, clip: Clip, inputs: ContextTexts, seed: int) -> Params:
        """The vectors, (1, M, D) or (1, C, M, D): they stand in the first layer's input only."""
        classes = (len(inputs.texts.end),) if self.class_specific else ()
        if inputs.words is not None:
            words = word_embeddings(clip, inputs.words)  # (M, D)
            return {"text": jnp.broadcast_to(words, (1, *classes, *words.shape))}
        shape = (1, *classes, self.tokens, clip.sizes.widths["text"])
        return {"text": SCALE * jax.random.normal(jax.random.key(seed), shape)}

    def text(self, params: Params, clip: Clip, inputs: ContextTexts) -> jax.Array:
        """Text features (C, F) behind the learned vectors."""
        return text_features(clip, inputs.texts, tokens=params["text"])

    def image(
        self, params: Params, clip: Clip, inputs: ContextTexts, images: jax.Array
    ) -> jax.Array:
        """Image features (B, F) of plain CLIP."""
        return image_features(clip, images)
