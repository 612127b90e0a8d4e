"""Differentiable Prompt Learning for CLIP, in JAX and Flax."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dpl_jax.clip.model import Clip, load_clip
    from dpl_jax.inference.classifier import Classifier
    from dpl_jax.prompts.logits import prompted_logits, search_logits, zero_shot_logits

__version__ = "0.1.0"
__all__ = [
    "Classifier",
    "Clip",
    "load_clip",
    "prompted_logits",
    "search_logits",
    "zero_shot_logits",
]
_HOMES = {
    "Classifier": "inference.classifier",
    "Clip": "clip.model",
    "load_clip": "clip.model",
    "prompted_logits": "prompts.logits",
    "search_logits": "prompts.logits",
    "zero_shot_logits": "prompts.logits",
}


def __getattr__(name: str) -> Any:
    """Imports what is asked for: JAX takes seconds, and decoding images needs none."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"dpl_jax.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
