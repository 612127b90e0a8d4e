"""The folder of tags that EXIF and TIFF share, read as far as an image needs it.

Pillow reads all tags of a folder, gives up at some that are odd, and keeps a copy of every value
that they point at, be it the same 65,535 times.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

ORIENTATION = 0x0112
# struct's letter and bytes of each type: byte, text, short, long, rational, signed, float, double.
KINDS = {1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 6: "b", 7: "s", 8: "h", 9: "i", 10: "ii"}
KINDS |= {11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"}
# What a TIFF is decoded by (TIFF 6.0; 330 is for reduced images, 34675 the colours' profile).
PIXEL_TAGS = {254, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320}
PIXEL_TAGS |= {322, 323, 324, 325, 332, 338, 339, 347, 512, 513, 514, 529, 530, 531, 532}
SPARE = 1 << 20  # bytes of values, besides four times the file, that are no reason for suspicion
SCAN = b"\xff\xda"
FILL = re.compile(rb"[\xff\0]*\xff")  # before a marker, as decoders skip it
PNG_KEPT = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"eXIf")
XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


Buffer: TypeAlias = bytes | mmap.mmap


class Tag(NamedTuple):
    """One entry: where it stands, its tag and type, and the place, number and bytes of values."""

    at: int
    tag: int
    kind: int
    values: int
    place: int
    size: int


class Folder(NamedTuple):
    """The first folder of tags of an EXIF block or a TIFF file.

    Attributes:
        order: "<" or ">".
        big: whether it is a BigTIFF.
        tags: in the order of the file.
    """

    order: str
    big: bool
    tags: list[Tag]


def read_folder(data: Buffer) -> Folder:
    """Reads the first folder of tags; without tags where there is none."""
    order = ">" if data[:2] == b"MM" else "<"
    big = data[2:4] in (b"+\0", b"\0+")
    try:
        return Folder(order, big, list(_tags(data, order, big)))
    except struct.error:
        return Folder(order, big, [])


def _tags(data: Buffer, order: str, big: bool) -> Iterator[Tag]:
    start = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, start)
    start += 8 if big else 2
    entry, room = (order + "HHQ", 8) if big else (order + "HHI", 4)
    step = struct.calcsize(entry) + room
    for at in range(start, min(start + count * step, len(data) - step + 1), step):
        tag, kind, number = struct.unpack_from(entry, data, at)
        size = number * struct.calcsize("<" + KINDS.get(kind, ""))
        place = at + step - room
        if size > room:
            (place,) = struct.unpack_from(order + ("Q" if big else "I"), data, place)
        yield Tag(at, tag, kind, number, place, size)


def orientation(data: Buffer) -> int | None:
    """The orientation that an EXIF block or TIFF holds, 1 to 8; None without the tag.

    A number of any type counts, a text that is one, and the first of several; what makes no sense
    is 1.
    """
    if data[:4] == b"Exif":  # some write the mark twice
        data = re.sub(rb"^(Exif\0\0){1,2}", b"", bytes(data))
    folder = read_folder(data)
    tag = next((tag for tag in folder.tags if tag.tag == ORIENTATION), None)
    if tag is None:
        return None
    letters = KINDS.get(tag.kind, "")
    try:
        if letters == "s":
            value = _number(bytes(data[tag.place : tag.place + min(tag.size, 8)]))
        else:
            numbers = struct.unpack_from(folder.order + letters, data, tag.place)
            value = numbers[0] / (numbers[1] if len(numbers) == 2 else 1)
    except (struct.error, ArithmeticError, LookupError):
        return 1
    return int(value) if value in range(1, 9) else 1


def _number(text: bytes) -> int:
    text = text.strip(b"\0 ")
    if len(text) != 1:
        return 1
    return int(text) if text.isdigit() else text[0]


def is_overloaded(data: Buffer) -> bool:
    """Whether the values of a folder, one by one, are many times what the file holds."""
    total = sum(min(tag.size, len(data)) for tag in read_folder(data).tags)
    return total > 4 * len(data) + SPARE


def clean_tiff(data: bytes) -> bytes:
    """A TIFF in which every tag that its pixels do not need is a single zero."""
    cleaned, folder, seen = bytearray(data), read_folder(data), set[int]()
    for tag in folder.tags:
        if tag.tag not in PIXEL_TAGS or tag.tag in seen:
            form = folder.order + ("HQQ" if folder.big else "HII")
            struct.pack_into(form, cleaned, tag.at + 2, 1, 1, 0)
        seen.add(tag.tag)
    return bytes(cleaned)


class JpegHeader(NamedTuple):
    """What stands before the pixels of a JPEG.

    Attributes:
        exif: its EXIF block, put together from its segments.
        xmp: its XMP.
        kept: the segments that the pixels need.
        end: where the header ends.
    """

    exif: bytes
    xmp: bytes
    kept: bytes
    end: int


def read_jpeg_header(data: bytes) -> JpegHeader:
    """Reads the segments of a JPEG up to its first scan."""
    exif, xmp, kept, place = [], b"", [], 2
    while fill := FILL.match(data, place):
        place = fill.end() - 1
        marker = data[place + 1] if place + 1 < len(data) else 0xDA
        if marker == 0xDA:
            break
        if marker == 1 or 0xD0 <= marker <= 0xD9:  # those without a length
            place += 2
            continue
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        segment = data[place:end]
        if marker == 0xE1 and segment[4:10] == b"Exif\0\0":
            exif.append(segment[10:])
        elif marker == 0xE1 and segment[4:33] == b"http://ns.adobe.com/xap/1.0/\0":
            xmp = xmp or segment[33:]
        if marker == 0xEE or not (0xE0 <= marker <= 0xEF or marker == 0xFE):  # Adobe's colours
            kept.append(segment)
        place = end
    return JpegHeader(b"".join(exif), xmp, b"".join(kept), place)


def clean_jpeg(data: bytes) -> bytes:
    """A JPEG without EXIF, XMP and all else that its pixels do not need."""
    header = read_jpeg_header(data)
    return data[:2] + header.kept + data[header.end :]


def clean_png(data: bytes) -> bytes:
    """A PNG without texts, profiles and further frames: what its pixels and its EXIF need."""
    kept, place = [data[:8]], 8
    while place + 12 <= len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        if data[place + 4 : place + 8] in PNG_KEPT:
            kept.append(data[place:end])
        place = end
    return b"".join(kept)
