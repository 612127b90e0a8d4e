"""Files: whole or not at all when written, bounded and checked when read."""
