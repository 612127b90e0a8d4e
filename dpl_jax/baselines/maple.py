"""MaPLe: learned tokens in both towers, those of the image a function of those of the text."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from dpl_jax.baselines.context import ContextTexts, photo_context
from dpl_jax.baselines.ivlp import init_text_tokens
from dpl_jax.baselines.method import Method, Params, check_settings
from dpl_jax.clip.features import image_features, text_features
from dpl_jax.clip.model import Clip
from dpl_jax.data.split import Dataset


@dataclasses.dataclass(frozen=True)
class MaPLe(Method):
    """Multi-modal prompt learning (Khattak et al., CVPR 2023, arXiv 2210.03117, section 3.2).

    Like :class:`~.ivlp.IVLP`, but the image tokens of a layer are a learned linear function of its
    text tokens (the coupling). As published: 2 tokens, depth 9, the text starting from "a photo of
    a" and the deeper tokens from normal(0, 0.02), SGD of rate 3.5e-3, cosine with one warm-up epoch
    of 1e-5, batches of 4, 5 epochs (github.com/muzairkhattak/multimodal-prompt-learning).

    Attributes:
      tokens: in each tower.
      depth: layers with tokens of their own; at most those of the tower with fewer layers.
    """

    tokens: int = 2
    depth: int = 9

    def __post_init__(self) -> None:
        check_settings(self.tokens, self.depth)

    def inputs(self, clip: Clip, dataset: Dataset) -> ContextTexts:
        """The texts with places for the tokens, see :func:`~.context.photo_context`."""
        return photo_context(clip, dataset, self.tokens)

    def init(self, clip: Clip, inputs: ContextTexts, seed: int) -> Params:
        """Text tokens (L, n, D), and couplings: kernel (L, D, D of the image tower) and bias.

        The couplings start as PyTorch's ``nn.Linear``, uniform in +-1/sqrt(D); as in the released
        code, those of all deeper layers are copies of one.
        """
        depth = min(self.depth, *clip.sizes.layers.values())
        widths = clip.sizes.widths
        text_key, kernel_key, bias_key = jax.random.split(jax.random.key(seed), 3)
        bound = widths["text"] ** -0.5
        drawn = jnp.minimum(jnp.arange(depth), 1)  # (L,) 0, 1, 1, ..
        shape = (2, widths["text"], widths["image"])
        kernels = jax.random.uniform(kernel_key, shape, minval=-bound, maxval=bound)
        biases = jax.random.uniform(bias_key, (2, widths["image"]), minval=-bound, maxval=bound)
        return {
            "text": init_text_tokens(text_key, clip, inputs, depth, self.tokens),
            "kernel": kernels[drawn],
            "bias": biases[drawn],
        }

    def text(self, params: Params, clip: Clip, inputs: ContextTexts) -> jax.Array:
        """Text features (C, F) beside the learned tokens."""
        return text_features(clip, inputs.texts, tokens=params["text"])

    def image(
        self, params: Params, clip: Clip, inputs: ContextTexts, images: jax.Array
    ) -> jax.Array:
        """Image features (B, F) beside the coupled tokens."""
        coupled = params["text"] @ params["kernel"] + params["bias"][:, None]  # (L, n, D)
        return image_features(clip, images, tokens=coupled)

    def prompt_tokens(self, params: Params) -> int:
        """Tokens of both towers and all layers; each text token makes one of the image tower."""
        return 2 * super().prompt_tokens(params)
