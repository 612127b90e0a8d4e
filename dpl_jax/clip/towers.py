"""The two towers of CLIP (Radford et al., 2021) as Linen modules over one transformer.

Without prompts they are plain CLIP.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dpl_jax.clip.attention import LayerPrompts
from dpl_jax.clip.config import ClipConfig, TextConfig, VisionConfig
from dpl_jax.clip.learned_tokens import append_tokens, put_tokens
from dpl_jax.clip.transformer import Layers, layer_norm

EMBEDDING = nn.initializers.normal(0.02)
# Where learned tokens stand in a text: behind the start-of-text.
TEXT_TOKENS_AT = 1


class ImageTower(nn.Module):
    """CLIP's vision transformer."""

    config: VisionConfig
    projection_dim: int
    dtype: Any = None
    remat: bool = False

    @nn.compact
    def __call__(
        self,
        images: jax.Array,
        prompts: LayerPrompts | None = None,
        tokens: jax.Array | None = None,
    ) -> jax.Array:
        """Maps normalised images (B, H, W, 3) to image features (B, projection_dim).

        Learned ``tokens`` (L, n, D) of the first L layers stand behind the patches.
        """
        config, width = self.config, self.config.hidden_size
        patches = to_patches(images, config.patch_size)  # (B, S-1, patch * patch * 3)
        x = nn.Dense(width, use_bias=False, dtype=self.dtype, name="patch_embedding")(patches)
        class_token = self.param("class_embedding", EMBEDDING, (width,))
        class_tokens = jnp.broadcast_to(class_token, (x.shape[0], 1, width))  # (B, 1, D)
        x = jnp.concatenate([class_tokens, x], axis=1)  # (B, S, D)
        x = x + self.param("position_embedding", EMBEDDING, (config.grid**2 + 1, width))
        patches_end = x.shape[1]
        if tokens is not None:
            x = append_tokens(x, tokens[0])  # (B, S + n, D)
        x = layer_norm(config, "pre_layernorm")(x)
        first = jnp.zeros(x.shape[0], jnp.int32)
        encoder = Layers(config, self.dtype, self.remat, name="encoder")
        x, _ = encoder(x, first, prompts=prompts, tokens=tokens, tokens_at=patches_end)  # (B, 1, D)
        x = layer_norm(config, "post_layernorm")(x[:, 0])  # (B, D)
        return nn.Dense(self.projection_dim, use_bias=False, dtype=self.dtype, name="projection")(x)


class TextTower(nn.Module):
    """CLIP's causal text transformer, read at the end-of-text token."""

    config: TextConfig
    projection_dim: int
    dtype: Any = None
    remat: bool = False

    @nn.compact
    def __call__(
        self,
        input_ids: jax.Array,
        end: jax.Array,
        prompts: LayerPrompts | None = None,
        prefix: jax.Array | None = None,
        tokens: jax.Array | None = None,
    ) -> jax.Array:
        """Encodes texts; what they all begin with is encoded once.

        Exact: the mask is causal, so the hidden states of a common prefix are the same for all.

        Args:
          input_ids: (C, S) token ids, behind the prefix.
          end: (C,) positions of the end-of-text in ``input_ids``.
          prompts: of every layer.
          prefix: (L,) token ids that stand before those of every text, or None.
          tokens: (L, n, D) learned tokens of the first L layers, or (L, C, n, D) for each text its
            own; they stand at the positions 1..n, and the texts then have no prefix.

        Returns:
          (C, projection_dim) features.
        """
        config, length = self.config, input_ids.shape[1]
        before = 0 if prefix is None else len(prefix)
        shape = (config.max_position_embeddings, config.hidden_size)
        positions = self.param("position_embedding", EMBEDDING, shape)
        embed = nn.Embed(
            config.vocab_size, config.hidden_size, name="token_embedding", embedding_init=EMBEDDING
        )
        encoder = Layers(config, self.dtype, self.remat, name="encoder")
        shared = None
        if prefix is not None:
            start = embed(prefix[None]) + positions[:before]  # (1, L, D)
            keys_values = encoder(start, prompts=prompts, mask=causal_mask(before))[1]
            shared = jax.tree.map(lambda leaf: leaf[:, 0], keys_values)  # (N, L, H, d)
        x = embed(input_ids)
        if tokens is not None:
            x = put_tokens(x, (tokens[0], True), TEXT_TOKENS_AT)
        x = x + positions[before : before + length]  # (C, S, D)
        x, _ = encoder(
            x,
            end,
            prompts=prompts,
            shared=shared,
            mask=causal_mask(length),
            read_mask=(jnp.arange(length) <= end[:, None])[:, None, None],  # (C, 1, 1, S)
            tokens=tokens,
            tokens_at=TEXT_TOKENS_AT,
        )  # (C, 1, D)
        x = layer_norm(config, "final_layer_norm")(x[:, 0])  # (C, D)
        return nn.Dense(self.projection_dim, use_bias=False, dtype=self.dtype, name="projection")(x)


def causal_mask(length: int) -> jax.Array:
    """(S, S), true where a query may look: at itself and before."""
    return jnp.tril(jnp.ones((length, length), bool))


def to_patches(images: jax.Array, patch: int) -> jax.Array:
    """Cuts (B, H, W, 3) into (B, H/patch * W/patch, patch * patch * 3), row by row."""
    batch, height, width, channels = images.shape
    rows, columns = height // patch, width // patch
    images = images[:, : rows * patch, : columns * patch]  # as a strided convolution would
    x = images.reshape(batch, rows, patch, columns, patch, channels)  # (B, r, p, c, p, 3)
    x = x.transpose(0, 1, 3, 2, 4, 5)  # (B, r, c, p, p, 3)
    return x.reshape(batch, rows * columns, patch * patch * channels)  # (B, S-1, p * p * 3)


def image_tower(sizes: ClipConfig, *, dtype: Any = None, remat: bool = False) -> ImageTower:
    """The image tower of ``sizes``; ``dtype`` is that of the matrix products."""
    return ImageTower(sizes.vision, sizes.projection_dim, dtype, remat)


def text_tower(sizes: ClipConfig, *, dtype: Any = None, remat: bool = False) -> TextTower:
    """The text tower of ``sizes``; ``dtype`` is that of the matrix products."""
    return TextTower(sizes.text, sizes.projection_dim, dtype, remat)
