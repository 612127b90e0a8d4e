"""How a launcher runs: flags parsed, errors in one clear line, exit codes."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import jax
from absl import app, flags
from absl import logging as logging_levels

from dpl_jax.cli.arguments import with_changes, with_config, with_names
from dpl_jax.cli.flags import words
from dpl_jax.errors import ConfigError, DplError, Interrupted
from dpl_jax.files.printable import LINES, never_fail_to_print, printable
from dpl_jax.runtime import processes
from dpl_jax.runtime.compilation import use_compilation_cache
from dpl_jax.runtime.signals import EXIT_CODES, end_on_sigterm


def run(
    main: Callable[[], None],
    required: Sequence[str] = (),
    positional: str | None = None,
    others: str | None = None,
    config_from: str | None = None,
) -> None:
    """Parses the flags and calls ``main``; a user's error is one message and exit code 1.

    SIGTERM and SIGINT end a run with the exit codes of :mod:`dpl_jax.runtime.signals`.

    Args:
      main: what the launcher does.
      required: names of flags that must be given.
      positional: a flag whose value may also be given bare, without the flag's name.
      others: a flag that takes the next bare argument; one that is repeatable, all of them.
      config_from: a flag with the folder of a run, whose config stands for a --config not given.
    """
    never_fail_to_print()
    end_on_sigterm()
    # app.run takes all other handlers of stderr away.
    logging_levels.use_absl_handler()
    logging_levels.get_absl_handler().setFormatter(_Printable("%(levelname)s: %(message)s"))
    flags.mark_flags_as_required(required)
    use_compilation_cache()
    parse = functools.partial(_parse, positional=positional, others=others, config_from=config_from)
    app.run(lambda _: _call(main), flags_parser=parse)


def tell_report(run: str | Path) -> None:
    """Prints where a run's report is, if one was written."""
    page = Path(run) / "report.html"
    if page.is_file():
        print(f"Report: {page}")


def _parse(
    arguments: Sequence[str],
    positional: str | None = None,
    others: str | None = None,
    config_from: str | None = None,
) -> Sequence[str]:
    """Parses flags and config; whatever is wrong with them becomes one message."""
    arguments = with_names(with_changes(arguments), positional, others)
    if config_from is not None:
        arguments = with_config(arguments, config_from)
    with _one_message():
        try:
            rest: Sequence[str] = flags.FLAGS(arguments)
        # ml_collections reports an unknown field by whatever the lookup raised.
        except (flags.Error, AttributeError, KeyError, TypeError) as error:
            raise ConfigError(words(error)) from error
    if len(rest) > 1:
        sys.exit(f"error: {rest[1]!r} is no flag; flags are written --name=value.")
    return rest


class _Printable(logging.Formatter):
    """Warnings may name files, and files may be named with commands to the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), kept=LINES)


def _call(main: Callable[[], None]) -> None:
    if not flags.FLAGS["verbosity"].present:
        logging_levels.set_verbosity(logging_levels.WARNING)  # else JAX tells of absent TPUs
    with _one_message():
        if "coordinator" in flags.FLAGS and (coordinator := flags.FLAGS.coordinator):
            processes.join(
                coordinator,
                flags.FLAGS.num_processes,
                flags.FLAGS.process_id,
                flags.FLAGS.coordinator_bind_address,
            )
        with contextlib.ExitStack() as stack:
            if not processes.is_first():
                nowhere = stack.enter_context(
                    open(os.devnull, "w", encoding="utf-8", errors="replace")
                )
                stack.enter_context(contextlib.redirect_stdout(nowhere))
            main()


@contextlib.contextmanager
def _one_message() -> Iterator[None]:
    try:
        yield
    except Interrupted as stop:
        workdir = flags.FLAGS.workdir if "workdir" in flags.FLAGS else None
        print(
            f"{stop} The same command with --workdir={workdir or stop.workdir} goes on from there.",
            file=sys.stderr,
        )
        sys.exit(stop.exit_code)
    except KeyboardInterrupt:
        print("Interrupted. What was saved before is whole.", file=sys.stderr)
        sys.exit(EXIT_CODES[signal.SIGINT])
    except DplError as error:
        _end_with(f"error: {printable(str(error), kept=LINES)}")
    except jax.errors.JaxRuntimeError as error:
        if not processes.is_multiprocess():
            raise
        _end_with(
            f"error: Process {jax.process_index()} has lost another one ({error}). See what that "
            "one has said; the same command in all of them goes on from the last checkpoint."
        )


def _end_with(message: str) -> NoReturn:
    """Ends with exit code 1; of several processes at once, for the others would wait for it."""
    if processes.is_multiprocess():
        print(message, file=sys.stderr)
        processes.leave(1)
    sys.exit(message)
