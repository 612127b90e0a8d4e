"""CLIP in Flax Linen: configuration, weights, tokenizer and the two towers."""
