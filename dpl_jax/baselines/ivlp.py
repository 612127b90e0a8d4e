"""IVLP: learned tokens in both towers, independent of each other."""

from __future__ import annotations

import dataclasses

import jax

from dpl_jax.baselines.context import SCALE, ContextTexts, photo_context, word_embeddings
from dpl_jax.baselines.method import Method, Params, check_settings
from dpl_jax.clip.features import image_features, text_features
from dpl_jax.clip.model import Clip
from dpl_jax.data.split import Dataset
from dpl_jax.prompts.trees import TOWERS


@dataclasses.dataclass(frozen=True)
class IVLP(Method):
    """Independent vision-language prompting.

    A baseline of MaPLe (Khattak et al., CVPR 2023, arXiv 2210.03117, section 4.2) and the model
    under PromptSRC (Khattak et al., ICCV 2023, arXiv 2307.06948). In the layers 1..depth-1, counted
    from 0, the tokens are replaced by the layer's own; from there on they are what the layers make
    of them. Published with PromptSRC: 4 tokens in each tower, depth 9, the text starting from "a
    photo of a" and all else from normal(0, 0.02), SGD of rate 2.5e-3, cosine with one warm-up epoch
    of 1e-5, batches of 4, 20 epochs (github.com/muzairkhattak/PromptSRC); with MaPLe: 2 tokens,
    depth 12, rate 3.5e-3, 5 epochs.

    Attributes:
      tokens: in each tower.
      depth: layers with tokens of their own; 1 is shallow, and all layers are the most.
    """

    tokens: int = 4
    depth: int = 9

    def __post_init__(self) -> None:
        check_settings(self.tokens, self.depth)

    def inputs(self, clip: Clip, dataset: Dataset) -> ContextTexts:
        """The texts with places for the tokens, see :func:`~.context.photo_context`."""
        return photo_context(clip, dataset, self.tokens)

    def init(self, clip: Clip, inputs: ContextTexts, seed: int) -> Params:
        """The tokens of both towers, (L, n, D) each."""
        keys = dict(zip(TOWERS, jax.random.split(jax.random.key(seed)), strict=True))
        depths = {tower: min(self.depth, layers) for tower, layers in clip.sizes.layers.items()}
        image = SCALE * jax.random.normal(
            keys["image"], (depths["image"], self.tokens, clip.sizes.widths["image"])
        )
        text = init_text_tokens(keys["text"], clip, inputs, depths["text"], self.tokens)
        return {"image": image, "text": text}

    def text(self, params: Params, clip: Clip, inputs: ContextTexts) -> jax.Array:
        """Text features (C, F) beside the learned tokens."""
        return text_features(clip, inputs.texts, tokens=params["text"])

    def image(
        self, params: Params, clip: Clip, inputs: ContextTexts, images: jax.Array
    ) -> jax.Array:
        """Image features (B, F) beside the learned tokens."""
        return image_features(clip, images, tokens=params["image"])


def init_text_tokens(
    key: jax.Array, clip: Clip, inputs: ContextTexts, depth: int, tokens: int
) -> jax.Array:
    """Tokens (L, n, D): the input's from words where there are any, all others normal(0, 0.02)."""
    rows = SCALE * jax.random.normal(key, (depth, tokens, clip.sizes.widths["text"]))
    if inputs.words is None:
        return rows
    return rows.at[0].set(word_embeddings(clip, inputs.words))
