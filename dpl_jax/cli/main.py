"""What all launchers share: the --config and --workdir flags, and errors in one clear line."""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import jax
from absl import app, flags
from absl import logging as logging_levels
from ml_collections import ConfigDict, config_flags

from dpl_jax.config import SHORTCUTS
from dpl_jax.errors import ConfigError, DplError, Interrupted
from dpl_jax.files.printable import LINES, never_fail_to_print, printable
from dpl_jax.runs.config_files import load_config
from dpl_jax.runtime import processes as machines
from dpl_jax.runtime.compilation import use_compilation_cache
from dpl_jax.runtime.signals import EXIT_CODES, end_on_sigterm

T = TypeVar("T")


def define_config(default: str | None = None) -> flags.FlagHolder[ConfigDict]:
    """Defines --config=FILE[:shots=4,seed=2], any field of which --config.FIELD=VALUE replaces.

    FILE may also be the name of a config that comes with the package: ``digits``.
    """
    holder: flags.FlagHolder[ConfigDict] = config_flags.DEFINE_config_file(
        "config", help_string="File of the settings, such as configs/digits.py."
    )
    flags.FLAGS["config"].parser = _ConfigFiles()
    if default:
        flags.set_default(holder, default)
    return holder


def said_fields() -> set[str]:
    """The config's fields that the command line names one by one, or by shortcuts of FILE:.."""
    flag: Any = flags.FLAGS["config"]
    return {*flag.override_values, *flag.parser.shortcut_fields}


def define_workdir() -> flags.FlagHolder[str | None]:
    """Defines --workdir=RUN."""
    return flags.DEFINE_string(
        "workdir", None, "The run's folder; resumed if it exists. Default: a new one under runs/."
    )


def define_changes(what: str) -> flags.FlagHolder[list[str]]:
    """Defines that --config.FIELD=VALUE without --config changes the config of ``what``.

    Returns:
      The changes, ``FIELD=VALUE`` each; see :func:`apply_settings`.
    """
    return flags.DEFINE_multi_string(
        "change", [], f"FIELD=VALUE; --config.FIELD=VALUE without --config is short for it: {what}."
    )


def apply_settings(config: ConfigDict, settings: Sequence[str], flag: str = "set") -> None:
    """Replaces fields in place, as ``--config.search.epochs=20`` does; "search.epochs=20" here.

    Raises:
      ConfigError: for a field that the config has not, or a value of the wrong kind.
    """
    arguments = ["", *(f"--{flag}.{setting}" for setting in settings)]
    values = flags.FlagValues()
    try:
        config_flags.DEFINE_config_dict(flag, config, flag_values=values, sys_argv=arguments)
        rest = values(arguments)
    # ml_collections reports an unknown field by whatever the lookup raised.
    except (flags.Error, AttributeError, KeyError, TypeError) as error:
        raise ConfigError(f"--{flag}: {_words(error)}") from error
    if len(rest) > 1:
        raise ConfigError(
            f"--{flag}: {rest[1]!r} is not understood; write --{flag}=search.epochs=20"
        )


def define_machines() -> None:
    """Defines the flags that make several processes, on one machine or many, one run."""
    flags.DEFINE_string(
        "coordinator",
        None,
        "host:port of process 0, where all processes meet; or auto, as SLURM, Open MPI or "
        "Kubernetes say.",
    )
    flags.DEFINE_string(
        "coordinator_bind_address",
        None,
        "host:port that process 0 listens on, on a trusted network only; default: the "
        "coordinator's port on all interfaces.",
    )
    flags.DEFINE_integer("num_processes", None, "How many processes there are.", lower_bound=1)
    flags.DEFINE_integer("process_id", None, "Number of this one, from 0.", lower_bound=0)


def choose_workdir(default: str | Path) -> Path:
    """The folder that --workdir names; where it names none, ``default`` becomes its value."""
    flag = flags.FLAGS["workdir"]
    flag.value = flag.value or str(default)
    return Path(flag.value)


def need(name: str, value: T | None) -> T:
    """The value of the flag --``name``; raises ConfigError when it was given none."""
    if value is None:
        raise ConfigError(f"--{name} is needed; --help lists the flags.")
    return value


def tell_report(run: str | Path) -> None:
    """Prints where a run's report is, if one was written."""
    page = Path(run) / "report.html"
    if page.is_file():
        print(f"Report: {page}")


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


def _parse(
    arguments: Sequence[str],
    positional: str | None = None,
    others: str | None = None,
    config_from: str | None = None,
) -> Sequence[str]:
    """Parses flags and config; whatever is wrong with them becomes one message."""
    arguments = _with_names(_with_changes(arguments), positional, others)
    if config_from is not None:
        arguments = _with_config(arguments, config_from)
    with _one_message():
        try:
            rest: Sequence[str] = flags.FLAGS(arguments)
        # ml_collections reports an unknown field by whatever the lookup raised.
        except (flags.Error, AttributeError, KeyError, TypeError) as error:
            raise ConfigError(_words(error)) from error
    if len(rest) > 1:
        sys.exit(f"error: {rest[1]!r} is no flag; flags are written --name=value.")
    return rest


def _with_changes(arguments: Sequence[str]) -> Sequence[str]:
    """Fields of a config that is not given as changes of that which the launcher has itself."""
    has_config = any(a.startswith(("--config=", "-config=")) for a in arguments)
    has_config |= "--config" in arguments or "-config" in arguments
    if "change" not in flags.FLAGS or has_config:
        return arguments
    found, rest = [arguments[0]], list(arguments[1:])
    while rest:
        argument = rest.pop(0)
        field = re.fullmatch(r"--?config\.([^=]+)(?:=(.*))?", argument, re.DOTALL)
        if field is None:
            found.append(argument)
            continue
        value = field[2]
        if value is None:  # --config.FIELD VALUE, or a switch
            value = "true" if not rest or rest[0].startswith("-") else rest.pop(0)
        found.append(f"--change={field[1]}={value}")
    return found


def _with_names(arguments: Sequence[str], positional: str | None, others: str | None) -> list[str]:
    """Bare arguments as flags: ``RUN A --top_k=2`` as --run=RUN --images=A --top_k=2."""
    program, *given = arguments
    several = others is not None and isinstance(flags.FLAGS[others], flags.MultiFlag)
    rest = itertools.repeat(others) if several else ()
    names = itertools.chain(filter(None, (positional, others)), rest)
    named = [program]
    for before, argument in itertools.pairwise(("", *given)):
        bare = not argument.startswith("-") and not _awaits_value(before)
        name = next(names, None) if bare else None
        named.append(f"--{name}={argument}" if name else argument)
    return named


def _with_config(arguments: Sequence[str], source: str) -> list[str]:
    """Without a --config, that of the run which the flag --``source`` names."""
    run = _given(arguments, source)
    if run is None or _given(arguments, "config") is not None:
        return list(arguments)
    # First, for the config's fields are flags only once its file is read.
    return [arguments[0], f"--config={Path(run) / 'config.json'}", *arguments[1:]]


def _given(arguments: Sequence[str], flag: str) -> str | None:
    """The value of ``--flag=VALUE`` or ``--flag VALUE``, the last one."""
    value = None
    for argument, following in itertools.pairwise((*arguments, "")):
        name, equals, own = argument.partition("=")
        if name in (f"--{flag}", f"-{flag}"):
            value = own if equals else following
    return value


def _awaits_value(argument: str) -> bool:
    """Whether the next argument is its value, as in ``--output FILE``."""
    name = argument.lstrip("-")
    return argument != name and name in flags.FLAGS and not flags.FLAGS[name].boolean


class _Printable(logging.Formatter):
    """Warnings may name files, and files may be named with commands to the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), kept=LINES)


class _ConfigFiles(flags.ArgumentParser):
    def __init__(self) -> None:
        self.shortcut_fields: set[str] = set()

    def parse(self, argument: str) -> ConfigDict:
        names = {part.partition("=")[0] for part in argument.partition(":")[2].split(",")}
        self.shortcut_fields = {field for name, field in SHORTCUTS.items() if name in names}
        return load_config(argument).lock()


def _words(error: BaseException) -> str:
    """The part of the flag libraries' messages that says what was wrong."""
    if error.args and isinstance(error.args[0], KeyError):  # wrapped by ml_collections
        return _words(error.args[0])
    if isinstance(error.__context__, DplError):  # wrapped by absl
        return str(error.__context__)
    text = str(error.args[0]) if error.args else str(error)
    if field := re.search(r'Did you mean "(.+)" instead of "(.+)"', text):
        return f"the config has no field {field[2]!r}; did you mean {field[1]!r}?"
    if missing := re.search(r"flag --(\w+)=None: ", text):
        return f"--{missing[1]} is needed; --help lists the flags."
    if isinstance(error, KeyError):
        return f"the config has no field {text}; see dpl_jax/config.py."
    return text


def _call(main: Callable[[], None]) -> None:
    if not flags.FLAGS["verbosity"].present:
        logging_levels.set_verbosity(logging_levels.WARNING)  # else JAX tells of absent TPUs
    with _one_message():
        if "coordinator" in flags.FLAGS and (coordinator := flags.FLAGS.coordinator):
            machines.join(
                coordinator,
                flags.FLAGS.num_processes,
                flags.FLAGS.process_id,
                flags.FLAGS.coordinator_bind_address,
            )
        with contextlib.ExitStack() as stack:
            if not machines.is_first():
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
        if not machines.several():
            raise
        _end_with(
            f"error: Process {jax.process_index()} has lost another one ({error}). See what that "
            "one has said; the same command in all of them goes on from the last checkpoint."
        )


def _end_with(message: str) -> NoReturn:
    """Ends with exit code 1; of several processes at once, for the others would wait for it."""
    if machines.several():
        print(message, file=sys.stderr)
        machines.leave(1)
    sys.exit(message)
