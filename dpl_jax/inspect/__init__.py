"""What searched alphas and trained prompts are, and what they do: see ``notebooks/``."""
