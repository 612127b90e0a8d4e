"""The errors that data can cause; each message names the file, what was wrong and what to do."""

from __future__ import annotations

from dpl_jax.errors import DplError


class DataError(DplError, ValueError):
    """A dataset, split or image list that cannot be used as it is."""


class DataNotFoundError(DataError, FileNotFoundError):
    """A dataset, split file or image that is not where it was looked for."""


class UnreadableImageError(DataError):
    """An image that is damaged, too large, not an image, or not permitted to be read."""
