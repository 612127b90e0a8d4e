"""VPT: learned tokens beside the patches of the image."""

from __future__ import annotations

import dataclasses

import jax

from dpl_jax.baselines.context import SCALE
from dpl_jax.baselines.method import Method, Params, check_settings
from dpl_jax.clip.features import image_features, text_features
from dpl_jax.clip.model import Clip
from dpl_jax.data.split import Dataset
from dpl_jax.training.inputs import class_texts


@dataclasses.dataclass(frozen=True)
class VPT(Method):
    """Visual prompt tuning (Jia et al., ECCV 2022, arXiv 2203.12119, section 3.2) of CLIP.

    The classes' texts are the dataset's template, as in zero-shot CLIP. The paper puts the tokens
    behind the class token of a ViT, takes 1 to 200 of them by validation, starts them uniform in
    +-sqrt(6 / (3 patch^2 + D)) and learns a linear head too. Here it is as MaPLe's authors carried
    it over to CLIP (github.com/muzairkhattak/multimodal-prompt-learning): no head, normal(0, 0.02)
    at the start, those of the input pass CLIP's first LayerNorm, 8 deep tokens, SGD of rate 2.5e-3,
    batches of 4, 5 epochs. Without a mask the position in the sequence has no meaning.

    Attributes:
      tokens: in the sequence of every image.
      deep: every layer has its own tokens (VPT-deep), else the input alone (VPT-shallow).
    """

    tokens: int = 8
    deep: bool = True

    def __post_init__(self) -> None:
        check_settings(self.tokens)

    def inputs(self, clip: Clip, dataset: Dataset) -> jax.Array:
        """Zero-shot text features (C, F)."""
        return text_features(clip, class_texts(clip, dataset))

    def init(self, clip: Clip, inputs: jax.Array, seed: int) -> Params:
        """The tokens of the image tower, (L, n, D), L = 1 without ``deep``."""
        layers = clip.sizes.layers["image"] if self.deep else 1
        shape = (layers, self.tokens, clip.sizes.widths["image"])
        return {"image": SCALE * jax.random.normal(jax.random.key(seed), shape)}

    def text(self, params: Params, clip: Clip, inputs: jax.Array) -> jax.Array:
        """Zero-shot text features (C, F)."""
        return inputs

    def image(self, params: Params, clip: Clip, inputs: jax.Array, images: jax.Array) -> jax.Array:
        """Image features (B, F) beside the learned tokens."""
        return image_features(clip, images, tokens=params["image"])
