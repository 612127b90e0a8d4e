"""The launchers and configs that come with the package, and the console commands.

In a checkout ``launch/`` and ``configs/`` lie beside the package, in an installed wheel inside it.
The console commands of pyproject.toml, ``dpl-search`` and others, name functions of this module;
each runs the launcher of its name as ``python launch/NAME.py`` would.
"""

from __future__ import annotations

import functools
import runpy
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def shipped(folder: str) -> Path:
    """The folder ``launch`` or ``configs``: in the package, or beside it."""
    inside = PACKAGE / folder
    return inside if inside.is_dir() else PACKAGE.parent / folder


def command(name: str) -> str:
    """How to start a launcher here: ``python launch/train.py``; where installed, ``dpl-train``."""
    if shipped("launch").parent == PACKAGE:
        return f"dpl-{name.replace('_', '-')}"
    return f"python launch/{name}.py"


def command_line(name: str, **values: object) -> str:
    """A command to paste into a shell as it stands, whatever folder it is in.

    ``command_line("evaluate", run=Path("my run"))`` is ``/../python /../launch/evaluate.py
    '--run=/../my run'``; where the package is installed, ``/../dpl-evaluate '--run=/../my run'``.

    Args:
      name: of the launcher.
      **values: of its flags; a path is made absolute.
    """
    return " ".join([program(name), *(flag(name, value) for name, value in values.items())])


def program(name: str) -> str:
    """How to start a launcher from any folder, quoted for a shell."""
    folder = shipped("launch")
    if folder.parent != PACKAGE:
        return shlex.join([sys.executable, str((folder / f"{name}.py").absolute())])
    console = Path(sys.executable).with_name(command(name))
    return shlex.quote(str(console) if console.is_file() else command(name))


def flag(name: str, value: object) -> str:
    """``--name=value``, quoted for a shell; a path is made absolute."""
    value = value.absolute() if isinstance(value, Path) else value
    return shlex.quote(f"--{name}={value}")


def __getattr__(name: str) -> Callable[[], None]:
    """The console command of the launcher ``launch/NAME.py``."""
    file = shipped("launch") / f"{name}.py"
    if not file.is_file():
        raise AttributeError(f"{__name__} has no {name!r}: there is no launcher {file}.")
    # As a program of its own, so that no two launchers' flags ever meet.
    return functools.partial(_run, file)


def _run(launcher: Path) -> None:
    runpy.run_path(str(launcher), run_name="__main__")
