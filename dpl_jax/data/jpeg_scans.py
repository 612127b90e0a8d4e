"""Counting the scans of a JPEG before it is decoded: each costs a pass over all its pixels."""

from __future__ import annotations

import re
from typing import BinaryIO

from dpl_jax.files import limits

CHUNK = 1 << 20
SOS, EOI = 0xDA, 0xD9
# Within the data of a scan FF is followed by 0 or a restart marker; all else ends them.
MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7\x01])", re.DOTALL)


def check_scans(file: BinaryIO) -> None:
    """Refuses a JPEG of more scans than ``limits.JPEG_SCANS``; the file stays where it is.

    Raises:
        ValueError: saying how many there are.
    """
    place = file.tell()
    try:
        if occurrences(file, b"\xff\xda") <= limits.JPEG_SCANS:  # nearly always, and quick
            return
        file.seek(0)
        scans = count_scans(file.read())
    finally:
        file.seek(place)
    if scans > limits.JPEG_SCANS:
        raise ValueError(f"a JPEG of {scans} scans; at most {limits.JPEG_SCANS} are decoded")


def count_scans(data: bytes) -> int:
    """The scans that a decoder finds from the start of a JPEG to its end marker."""
    scans, place = 0, 2
    while found := MARKER.search(data, place):
        marker, place = found[1][0], found.end()
        if marker == EOI:
            break
        length = int.from_bytes(data[place : place + 2], "big")
        if length < 2:
            break  # where the decoder gives up
        scans += marker == SOS
        place += length
    return scans


def occurrences(file: BinaryIO, mark: bytes) -> int:
    """How often some bytes are in a file, be it within other data; goes back to its start."""
    file.seek(0)
    count, last = 0, b""
    while chunk := file.read(CHUNK):
        chunk = last + chunk
        count += chunk.count(mark)
        last = chunk[len(chunk) - len(mark) + 1 :]
    file.seek(0)
    return count
