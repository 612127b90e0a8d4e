"""Warnings that a command gives once, however often it comes by."""

from __future__ import annotations

import functools
import logging


@functools.cache
def warn_once(log: logging.Logger, text: str) -> None:
    """Logs a warning; a command may list its images several times, for the run and the report."""
    log.warning("%s", text)
