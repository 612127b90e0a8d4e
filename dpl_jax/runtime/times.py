"""Times as people read them."""

from __future__ import annotations

import datetime


def timestamp() -> str:
    """Date and time of now, for the name of a folder: ``20261126-183000``."""
    return datetime.datetime.now().strftime("%Y%m%d-%H%M%S")


def duration(seconds: float) -> str:
    """Seconds as ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
