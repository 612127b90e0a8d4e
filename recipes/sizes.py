"""The sizes of the CLIP that a recipe's config describes."""

from __future__ import annotations

import ml_collections

from dpl_jax.clip.config import ClipConfig, TextConfig, VisionConfig


def clip_config(config: ml_collections.ConfigDict) -> ClipConfig:
    """Returns the sizes of the CLIP to train."""
    text = TextConfig(
        hidden_size=config.text_width,
        intermediate_size=4 * config.text_width,
        num_attention_heads=config.text_width // config.head_width,
        num_hidden_layers=config.text_layers,
        vocab_size=config.vocab_size,
        max_position_embeddings=config.context_length,
        eos_token_id=config.vocab_size - 1,
    )
    vision = VisionConfig(
        hidden_size=config.image_width,
        intermediate_size=4 * config.image_width,
        num_attention_heads=config.image_width // config.head_width,
        num_hidden_layers=config.image_layers,
        image_size=config.image_size,
        patch_size=config.patch_size,
    )
    return ClipConfig(text=text, vision=vision, projection_dim=config.projection_dim)
