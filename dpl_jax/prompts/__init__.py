"""Prompts and alphas as trees of arrays, and the logits of a CLIP that has them."""
