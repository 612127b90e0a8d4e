"""Differentiable Prompt Learning for CLIP, in JAX and Flax."""

from dpl_jax.clip.model import Clip, load_clip
from dpl_jax.logits import prompted_logits, search_logits, zero_shot_logits

__version__ = "0.1.0"
__all__ = ["Clip", "load_clip", "prompted_logits", "search_logits", "zero_shot_logits"]
