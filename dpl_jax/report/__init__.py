"""A run as one page to look at: ``RUN/report.html``, and its figures in ``RUN/plots``."""

from __future__ import annotations

import logging
from pathlib import Path

from ml_collections import ConfigDict

LOG = logging.getLogger(__name__)


def report_at_end(run: Path, config: ConfigDict) -> None:
    """Writes the report of a run that has come to its end; a failure is a warning, no error.

    Args:
      run: its folder.
      config: ``config.report`` says whether there is to be one.
    """
    if not config.get("report", True):  # runs of an older version have no such field
        return
    try:
        # Imported here because matplotlib takes a second, and whatever fails must not end the run.
        from dpl_jax.report.page import write_report

        write_report(run)
    except Exception as error:
        name = type(error).__name__
        LOG.warning("%s has no report (launch/report.py writes one): %s: %s", run, name, error)
