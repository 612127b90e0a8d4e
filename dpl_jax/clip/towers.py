"""The two towers of CLIP (Radford et al., 2021) as Linen modules over one shared block.

Layers are stacked on a leading axis and scanned. Every layer can take prompt rows as extra keys
and values of its self-attention; without them the towers are plain CLIP.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dpl_jax.attention import LayerPrompts, attention, prompted_attention
from dpl_jax.clip.config import ClipConfig, TextConfig, TowerConfig, VisionConfig

EMBEDDING = nn.initializers.normal(0.02)


def layer_norm(config: TowerConfig, name: str) -> nn.LayerNorm:
    """CLIP's LayerNorm, always in float32; the two-pass variance is the one PyTorch computes."""
    return nn.LayerNorm(epsilon=config.layer_norm_eps, use_fast_variance=False, name=name)


def activation(name: str, x: jax.Array) -> jax.Array:
    """OpenAI's quick_gelu, x * sigmoid(1.702 x), or the exact gelu of LAION's weights."""
    return x * jax.nn.sigmoid(1.702 * x) if name == "quick_gelu" else nn.gelu(x, approximate=False)


class SelfAttention(nn.Module):
    """Multi-head self-attention in which prompt rows are extra keys and values."""

    config: TowerConfig
    dtype: Any = None

    @nn.compact
    def __call__(
        self, x: jax.Array, token_mask: jax.Array | None, prompts: LayerPrompts | None
    ) -> jax.Array:
        """Maps normalised tokens (B, S, D) and normalised prompt rows (P, D) to (B, S, D)."""
        width, heads = self.config.hidden_size, self.config.num_attention_heads
        query, key, value, out = (
            nn.Dense(width, dtype=self.dtype, name=name)
            for name in ("query", "key", "value", "out")
        )

        def split(y: jax.Array) -> jax.Array:
            return y.reshape(*y.shape[:-1], heads, width // heads)  # (..., H, d)

        q, k, v = split(query(x)), split(key(x)), split(value(x))  # (B, S, H, d) each
        if prompts is None:
            mixed = attention(q, k, v, token_mask)[0].astype(v.dtype)  # (B, S, H, d)
        else:
            prompt_k, prompt_v = split(key(prompts.rows)), split(value(prompts.rows))  # (P, H, d)
            mixed = prompted_attention(q, k, v, prompt_k, prompt_v, prompts, token_mask)
        return out(mixed.reshape(*mixed.shape[:-2], width))  # (B, S, D)


class Block(nn.Module):
    """One pre-norm transformer layer; prompts never enter the residual stream."""

    config: TowerConfig
    dtype: Any = None

    @nn.compact
    def __call__(
        self, x: jax.Array, prompts: LayerPrompts | None, token_mask: jax.Array | None
    ) -> tuple[jax.Array, None]:
        """Maps (B, S, D) to (B, S, D); prompts pass through the same LayerNorm as tokens."""
        norm1 = layer_norm(self.config, "layer_norm1")
        if prompts is not None:
            prompts = prompts.replace(rows=norm1(prompts.rows))
        x = x + SelfAttention(self.config, self.dtype, name="attention")(
            norm1(x), token_mask, prompts
        )
        y = layer_norm(self.config, "layer_norm2")(x)
        y = nn.Dense(self.config.intermediate_size, dtype=self.dtype, name="fc1")(y)
        y = activation(self.config.hidden_act, y)
        x = x + nn.Dense(self.config.hidden_size, dtype=self.dtype, name="fc2")(y)
        return x, None


class Layers(nn.Module):
    """All layers of a tower, scanned over their stacked parameters and prompts."""

    config: TowerConfig
    dtype: Any = None
    remat: bool = False

    @nn.compact
    def __call__(
        self, x: jax.Array, prompts: LayerPrompts | None, token_mask: jax.Array | None
    ) -> jax.Array:
        """Maps (B, S, D) to (B, S, D); every leaf of ``prompts`` has a leading axis N."""
        block = nn.remat(Block, prevent_cse=False) if self.remat else Block
        scanned = nn.scan(
            block,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=(0, nn.broadcast),
            length=self.config.num_hidden_layers,
        )
        return scanned(self.config, self.dtype, name="layers")(x, prompts, token_mask)[0]


class ImageTower(nn.Module):
    """CLIP's vision transformer."""

    config: VisionConfig
    projection_dim: int
    dtype: Any = None
    remat: bool = False

    @nn.compact
    def __call__(self, images: jax.Array, prompts: LayerPrompts | None = None) -> jax.Array:
        """Maps normalised images (B, H, W, 3) to image features (B, projection_dim)."""
        config, width = self.config, self.config.hidden_size
        patches = to_patches(images, config.patch_size)  # (B, S-1, patch * patch * 3)
        x = nn.Dense(width, use_bias=False, dtype=self.dtype, name="patch_embedding")(patches)
        class_token = self.param("class_embedding", EMBEDDING, (width,))
        class_tokens = jnp.broadcast_to(class_token, (x.shape[0], 1, width))  # (B, 1, D)
        x = jnp.concatenate([class_tokens, x], axis=1)  # (B, S, D)
        x = x + self.param("position_embedding", EMBEDDING, (config.grid**2 + 1, width))
        x = layer_norm(config, "pre_layernorm")(x)
        x = Layers(config, self.dtype, self.remat, name="encoder")(x, prompts, None)
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
        self, input_ids: jax.Array, end: jax.Array, prompts: LayerPrompts | None = None
    ) -> jax.Array:
        """Maps token ids (C, S) and end-of-text positions (C,) to features (C, projection_dim)."""
        config, length = self.config, input_ids.shape[1]
        positions = self.param(
            "position_embedding", EMBEDDING, (config.max_position_embeddings, config.hidden_size)
        )
        x = nn.Embed(
            config.vocab_size, config.hidden_size, name="token_embedding", embedding_init=EMBEDDING
        )(input_ids)  # (C, S, D)
        x = x + positions[:length]
        causal = jnp.tril(jnp.ones((length, length), bool))  # (S, S)
        x = Layers(config, self.dtype, self.remat, name="encoder")(x, prompts, causal)
        x = x[jnp.arange(x.shape[0]), end]  # (C, D)
        x = layer_norm(config, "final_layer_norm")(x)
        return nn.Dense(self.projection_dim, use_bias=False, dtype=self.dtype, name="projection")(x)


def to_patches(images: jax.Array, patch: int) -> jax.Array:
    """Cuts (B, H, W, 3) into (B, H/patch * W/patch, patch * patch * 3), row by row."""
    batch, height, width, channels = images.shape
    rows, columns = height // patch, width // patch
    images = images[:, : rows * patch, : columns * patch]  # as a strided convolution would
    x = images.reshape(batch, rows, patch, columns, patch, channels)  # (B, r, p, c, p, 3)
    x = x.transpose(0, 1, 3, 2, 4, 5)  # (B, r, c, p, p, 3)
    return x.reshape(batch, rows * columns, patch * patch * channels)  # (B, S-1, p * p * 3)


def image_tower(config: ClipConfig, *, dtype: Any = None, remat: bool = False) -> ImageTower:
    """The image tower of ``config``; ``dtype`` is that of the matrix products."""
    return ImageTower(config.vision, config.projection_dim, dtype, remat)


def text_tower(config: ClipConfig, *, dtype: Any = None, remat: bool = False) -> TextTower:
    """The text tower of ``config``; ``dtype`` is that of the matrix products."""
    return TextTower(config.text, config.projection_dim, dtype, remat)
