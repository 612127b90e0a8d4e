"""How fast dpl_jax is, measured side by side with other ways in one process."""
