"""Command lines: flags, config files, errors in one clear line."""

from dpl_jax.cli.main import (
    apply_settings,
    choose_workdir,
    define_changes,
    define_config,
    define_machines,
    define_workdir,
    need,
    run,
    said_fields,
    tell_report,
)

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
