"""Names from elsewhere as text that does nothing but be read."""

from __future__ import annotations

LINES = "\n\t"  # what a message of several lines is laid out with


def printable(text: str, kept: str = "") -> str:
    """Text without control characters and halves of characters, which files may be named with.

    An escape character would start a command to the terminal: colours, the title, the cursor.

    Args:
      text: any.
      kept: characters to leave as they are, such as a newline.
    """
    return "".join(
        char if char.isprintable() or char in kept else "\N{REPLACEMENT CHARACTER}" for char in text
    )
