"""Runs a command of the documentation in this process, as its own program would run."""

import itertools
import logging
import re
import runpy
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from absl import flags
from ml_collections import ConfigDict

from dpl_jax.cli import main
from dpl_jax.config import check_config
from tests.docs.markdown import ROOT

ENVIRONMENT = re.compile("[A-Z_]+=")
MODULES = (
    "dpl_jax.data",
    "dpl_jax.results",
    "recipes.assess",
    "recipes.export",
    "recipes.pretrain",
    "recipes.small.wordnet",
)


def program(words: Sequence[str]) -> tuple[str, list[str]] | None:
    """What a command starts, ``launch/NAME.py`` or a module, and its arguments; else None.

    Environment variables before it are passed over: this process has read them already.
    """
    match list(itertools.dropwhile(ENVIRONMENT.match, words)):
        case ["python", "-m", module, *arguments] if module in MODULES:
            return module, arguments
        case ["python", launcher, *arguments] if (ROOT / launcher).is_file():
            return launcher, arguments
        case [command, *arguments] if command.startswith("dpl-"):
            launcher = f"launch/{command.removeprefix('dpl-').replace('-', '_')}.py"
            return (launcher, arguments) if (ROOT / launcher).is_file() else None
    return None


def parse(name: str, arguments: Sequence[str], monkeypatch) -> ConfigDict | None:
    """Parses the flags and the config as the program does, without running it; the config."""
    parsed: list[ConfigDict | None] = []

    def instead_of_running(_main: object) -> None:
        config = flags.FLAGS["config"].value if "config" in flags.FLAGS else None
        if config is not None and "recipe" in config:
            config = None  # that of a pretraining
        elif config is not None and "data" in config:
            check_config(config)
        parsed.append(config)

    with monkeypatch.context() as patched:
        patched.setattr(main, "_call", instead_of_running)
        run(name, arguments)
    return parsed[0] if parsed else None


def run(name: str, arguments: Sequence[str]) -> None:
    """Runs it; whatever ends it with another exit code than 0 is an error."""
    with _as_a_program([name, *arguments]):
        try:
            if name in MODULES:
                runpy.run_module(name, run_name="__main__")
            else:
                runpy.run_path(str(ROOT / name), run_name="__main__")
        except SystemExit as end:
            assert not end.code, end.code


@contextmanager
def _as_a_program(argv: list[str]) -> Iterator[None]:
    """Arguments of its own; flags and logging are afterwards as they were."""
    handlers, own = logging.root.handlers[:], sys.argv
    sys.argv = argv
    try:
        yield
    finally:
        sys.argv, logging.root.handlers[:] = own, handlers
        flags.FLAGS.unparse_flags()
        for flag in filter(_is_ours, list(flags.FLAGS)):
            delattr(flags.FLAGS, flag)


def _is_ours(flag: str) -> bool:
    """Whether a launcher has defined it; a library defines its own once, when it is imported."""
    module = flags.FLAGS.find_module_defining_flag(flag, "")
    ours = module.startswith(("dpl_jax", "recipes")) or flag.startswith("config.")
    return ours or module not in sys.modules
