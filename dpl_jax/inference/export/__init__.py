"""Trained prompts made to travel: a folder that stands alone."""

from dpl_jax.inference.export.folder import export_folder

__all__ = ["export_folder"]
