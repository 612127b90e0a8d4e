"""Comparing searched prompts with what people set by hand, on the same images and budget."""
