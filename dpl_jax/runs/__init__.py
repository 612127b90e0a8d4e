"""A run on disk: its folder, settings, lock, checkpoints, metrics, results and predictions."""
