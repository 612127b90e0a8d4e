"""Differentiable Prompt Learning for CLIP, in JAX and Flax."""

from typing import TYPE_CHECKING, Any

from dpl_jax.clip.model import Clip, load_clip
from dpl_jax.logits import prompted_logits, search_logits, zero_shot_logits

if TYPE_CHECKING:
    from dpl_jax.classifier import Classifier

__version__ = "0.1.0"
__all__ = [
    "Classifier",
    "Clip",
    "load_clip",
    "prompted_logits",
    "search_logits",
    "zero_shot_logits",
]


def __getattr__(name: str) -> Any:
    """Imports the classifier when it is asked for: what it reads runs with takes seconds."""
    if name == "Classifier":
        from dpl_jax.classifier import Classifier

        return Classifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
