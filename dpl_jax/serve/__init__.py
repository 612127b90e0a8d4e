"""A local web page to try a trained run: drop images, see the predictions and where prompts act."""

from dpl_jax.serve.server import serve

__all__ = ["serve"]
