"""Command lines: flags, config files, errors in one clear line."""

from dpl_jax.cli.flags import (
    apply_settings,
    choose_workdir,
    define_changes,
    define_config,
    define_machines,
    define_workdir,
    need,
    said_fields,
)
from dpl_jax.cli.main import run, tell_report

__all__ = [
    "apply_settings",
    "choose_workdir",
    "define_changes",
    "define_config",
    "define_machines",
    "define_workdir",
    "need",
    "run",
    "said_fields",
    "tell_report",
]
