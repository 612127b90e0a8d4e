"""Arguments in the order and brevity that people write them, as the flags that absl reads."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from absl import flags


def with_changes(arguments: Sequence[str]) -> Sequence[str]:
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


def with_names(arguments: Sequence[str], positional: str | None, others: str | None) -> list[str]:
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


def with_config(arguments: Sequence[str], source: str) -> list[str]:
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
