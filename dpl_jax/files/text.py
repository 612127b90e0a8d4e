"""Text files from any system: one way to read them, whatever marks and line ends they have."""

from __future__ import annotations

import codecs
import os

from dpl_jax.files import limits
from dpl_jax.files.regular import read_bytes

UTF32_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_text(path: str | os.PathLike[str], most: int = limits.TEXT_BYTES) -> str:
    """Reads a text file; see :func:`decode_text`.

    Raises:
      OSError: as :func:`dpl_jax.files.regular.open_regular`.
      ValueError: when it is larger than ``most`` bytes, or not text.
    """
    return decode_text(read_bytes(path, most))


def decode_text(data: bytes) -> str:
    """Text in UTF-8, or in what its byte-order mark says (Excel's "Unicode text" is UTF-16).

    The mark is no part of the text, and lines end in a line feed alone.

    Raises:
      ValueError: when it is something else, with the line.
    """
    encoding = "utf-8-sig"
    if data.startswith(UTF32_MARKS):  # before UTF-16, whose mark it begins with
        encoding = "utf-32"
    elif data.startswith(UTF16_MARKS):
        encoding = "utf-16"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        said = encoding.removesuffix("-sig").upper()
        raise ValueError(f"line {line} is not {said}; save the file as UTF-8") from error
    if (place := text.find("\0")) >= 0:
        line = text.count("\n", 0, place) + 1
        raise ValueError(f"line {line} has a null character, not a text's; save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")
