"""What is fuzzed: a parser and valid files for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Target(NamedTuple):
    """A parser.

    Attributes:
      name: of it.
      parse: takes the contents of a file.
      seeds: valid ones.
      is_json: whether they are.
      share: of the inputs; less for what is slow.
      also: errors besides our own that it is documented to raise.
    """

    name: str
    parse: Callable[[bytes], object]
    seeds: list[bytes]
    is_json: bool = False
    share: int = 10
    also: tuple[type[Exception], ...] = ()


def in_file(path: Path, parse: Callable[[], object]) -> Callable[[bytes], object]:
    """Puts the contents into a file before the parser looks at it."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def write_and_parse(contents: bytes) -> object:
        path.write_bytes(contents)
        return parse()

    return write_and_parse


def as_json(value: object) -> list[bytes]:
    return [json.dumps(value).encode()]
