"""A trained run as a classifier: from Python, as a command, as a folder that stands alone."""
