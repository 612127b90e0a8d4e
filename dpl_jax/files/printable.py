"""Names from elsewhere as text that does nothing but be read."""

from __future__ import annotations

import io
import sys
import unicodedata

LINES = "\n\t"  # what a message of several lines is laid out with
# Signs of ordinary text that Python does not count as printable: joiners of Persian, of Indian
# scripts and of emoji, the letters of flags, marks of direction (which, unlike overrides, change
# no other text), soft hyphens.
SIGNS = frozenset("\u200c\u200d\u200e\u200f\u061c\u00ad").union(map(chr, range(0xE0020, 0xE0080)))


def printable(text: str, kept: str = "") -> str:
    """Text without control characters and halves of characters, which files may be named with.

    Joiners, no-break spaces and marks of direction belong to names and stay.

    An escape character would start a command to the terminal: colours, the title, the cursor.

    Args:
      text: any.
      kept: characters to leave as they are, such as a newline.
    """
    return "".join(
        char if _is_text(char) or char in kept else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def _is_text(char: str) -> bool:
    return char.isprintable() or char in SIGNS or unicodedata.category(char) == "Zs"


def never_fail_to_print() -> None:
    r"""Makes stdout and stderr write what their encoding lacks as ``\u732b`` instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
