"""Random metadata around the pixels of one small image, and what must come of each.

    python -m tests.data.metadata --images=100000 --seed=1

reads that many, of all formats, and prints how many there were of each.
"""

from __future__ import annotations

import argparse
import collections
import io
import logging
import random
import struct
import warnings
import zlib

import numpy as np
import PIL.Image

from dpl_jax.data.images import read_image
from dpl_jax.data.split import Item

ORIENTATION = 0x0112
# Bytes a value of each TIFF type: byte, text, short, long, rational, signed ..., float, double.
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
# Make, model, resolutions and their unit, dates, artist, XMP, IPTC, Photoshop, ICC, Exif, GPS and
# Interop folders, maker note, Windows' titles, and some that nobody knows.
TAGS = (0x010E, 0x010F, 0x0110, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B, 0x013C, 0x013E)
TAGS += (0x0213, 0x02BC, 0x4746, 0x8298, 0x83BB, 0x8649, 0x8769, 0x8773, 0x8825, 0x927C, 0xA005)
TAGS += (0x9C9B, 0xA20E, 0xC4A5, 0x9000, 0x9286, 0xFFFF, 0x0000, 0x0001, 0xB001, 0xB002)
TURNED = {  # what is stored so that it is `upright` after being turned as an orientation asks
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}
CORNERS = np.array([[[230, 30, 30], [30, 220, 40]], [[40, 40, 220], [235, 235, 60]]], np.uint8)
UPRIGHT = CORNERS.repeat(16, 0).repeat(24, 1)  # (32, 48, 3)
FORMATS = ("JPEG", "WEBP", "PNG", "PNG end", "PNG text", "TIFF", "XMP JPEG", "two JPEG")

Entry = tuple[int, int, int, bytes]  # tag, type, count, value


def ifd(entries: list[Entry], order: str, start: int = 8, following: int = 0) -> bytes:
    """A folder of tags at ``start``, with the values that do not fit into it behind it."""
    body, behind = struct.pack(f"{order}H", len(entries)), b""
    place = start + 2 + 12 * len(entries) + 4
    for tag, kind, count, value in entries:
        body += struct.pack(f"{order}HHI", tag, kind, count & 0xFFFFFFFF)
        if len(value) > 4:
            body += struct.pack(f"{order}I", place + len(behind))
            behind += value
        else:
            body += value.ljust(4, b"\0")
    return body + struct.pack(f"{order}I", following) + behind


def header(order: str) -> bytes:
    return (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)


def odd_entries(stream: random.Random) -> list[Entry]:
    """Some tags with types, counts and values that need not belong together."""
    entries = []
    for tag in stream.sample(TAGS, stream.randint(0, 8)):
        kind = stream.choice((*SIZES, 2, 5, 7, 11, 0, 99))
        count = stream.choice((0, 1, 1, 1, 2, 4, 9, 70, 2**31 if stream.random() < 0.1 else 3))
        size = min(count, 100) * SIZES.get(kind, 1)
        fill = stream.choice((b"\0", b"\xff", b"6", b"a\0", None))
        value = stream.randbytes(size) if fill is None else (fill * size)[:size]
        if stream.random() < 0.15 and size > 4:  # values that lie elsewhere, or nowhere
            value = struct.pack("<I", stream.choice((0, 8, 10, 2**32 - 1, stream.randrange(300))))
        entries.append((tag, kind, count, value))
    return entries


def orientation_entry(number: int, order: str, stream: random.Random) -> Entry:
    """An orientation, as a short or what else is understood."""
    match stream.randrange(8):
        case 0:
            return ORIENTATION, 2, 2, b"%d\0" % number
        case 1:
            return ORIENTATION, 4, 1, struct.pack(f"{order}I", number)
        case 2:
            return ORIENTATION, 5, 1, struct.pack(f"{order}II", number, 1)
        case 3:
            return ORIENTATION, 11, 1, struct.pack(f"{order}f", number)
        case 4:
            return ORIENTATION, 3, 2, struct.pack(f"{order}HH", number, stream.randrange(9))
        case 5:
            return ORIENTATION, 1, 1, bytes([number])
        case _:
            return ORIENTATION, 3, 1, struct.pack(f"{order}H", number)


def encoded(kind: str, stream: random.Random) -> tuple[bytes, int]:
    """An image file of a format with odd metadata, and its orientation."""
    number, order = stream.randint(1, 8), stream.choice("<>")
    entries = odd_entries(stream)
    entries.insert(stream.randint(0, len(entries)), orientation_entry(number, order, stream))
    if stream.random() < 0.5:
        entries.sort(key=lambda entry: entry[0])
    stored = np.ascontiguousarray(TURNED[number](UPRIGHT))
    if kind == "TIFF":
        return tiff(stored, entries, order, stream), number
    exif = b"Exif\0\0" * stream.choice((1, 1, 1, 2)) + header(order) + ifd(entries, order)
    image, buffer = PIL.Image.fromarray(stored), io.BytesIO()
    if kind in ("JPEG", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {"quality": 95}
        image.save(buffer, kind, exif=exif, **options)
        return buffer.getvalue(), number
    if kind.startswith("PNG"):
        image.save(buffer, "PNG")
        plain = exif.replace(b"Exif\0\0", b"")
        text = b"Raw profile type exif\0\0" + zlib.compress(
            b"\nexif\n%8d\n%s\n" % (len(exif), exif.hex().encode())
        )
        chunk = _chunk(b"zTXt", text) if kind == "PNG text" else _chunk(b"eXIf", plain)
        return _insert(buffer.getvalue(), chunk, -12 if kind == "PNG end" else 33), number
    image.save(buffer, "JPEG", quality=95)
    if kind == "XMP JPEG":  # the orientation is in the XMP alone
        others = [entry for entry in entries if entry[0] != ORIENTATION]
        xmp = b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="%d"/>' % number
        segments = _segment(b"Exif\0\0" + header(order) + ifd(others, order)) + _segment(xmp)
    else:  # "two JPEG": the EXIF in two segments
        cut = stream.randint(6, len(exif))
        segments = _segment(exif[:cut]) + _segment(b"Exif\0\0" + exif[cut:])
    return _insert(buffer.getvalue(), segments, 2), number


def tiff(stored: np.ndarray, entries: list[Entry], order: str, stream: random.Random) -> bytes:
    """A TIFF of these pixels, raw or compressed, with the tags beside those of the image."""
    packed = stream.random() < 0.5
    pixels = zlib.compress(stored.tobytes()) if packed else stored.tobytes()
    height, width = stored.shape[:2]
    short = {256: width, 257: height, 259: 8 if packed else 1, 262: 2, 277: 3, 278: height, 284: 1}
    image = [(tag, 3, 1, struct.pack(f"{order}H", value)) for tag, value in short.items()]
    image.append((258, 3, 3, struct.pack(f"{order}HHH", 8, 8, 8)))
    image.append((273, 4, 1, struct.pack(f"{order}I", 8)))
    image.append((279, 4, 1, struct.pack(f"{order}I", len(pixels))))
    start = 8 + len(pixels)
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, start)
    together = sorted([*image, *entries], key=lambda entry: entry[0])
    return head + pixels + ifd(together, order, start, stream.choice((0, 0, start, 2**31)))


def check(kind: str, stream: random.Random) -> None:
    """Reads one such image.

    Raises:
        AssertionError: it is not upright.
    """
    data, number = encoded(kind, stream)
    read = np.asarray(read_image(Item(InMemory(data), 0, "", "image"))).astype(int)
    assert read.shape == UPRIGHT.shape, (kind, number, read.shape)
    for y, x in ((4, 4), (4, -5), (-5, 4), (-5, -5)):
        far = np.abs(read[y, x] - UPRIGHT[y, x]).max()
        assert far <= 25, (kind, number, (y, x), read[y, x])


class InMemory:
    """A record of encoded bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self) -> bytes:
        return self.data


def _chunk(name: bytes, data: bytes) -> bytes:
    body = name + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def _segment(data: bytes) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data


def _insert(data: bytes, piece: bytes, place: int) -> bytes:
    return data[:place] + piece + data[place:]


def main() -> None:
    """Reads many such images; prints the first of each way in which some go wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    flags = parser.parse_args()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    counts: collections.Counter[str] = collections.Counter()
    wrong: dict[str, str] = {}
    for number in range(flags.images):
        kind, seed = FORMATS[number % len(FORMATS)], f"{flags.seed}-{number}"
        try:
            check(kind, random.Random(seed))
            counts[kind] += 1
        except Exception as error:
            counts[f"! {kind}"] += 1
            wrong.setdefault(f"{kind} {error!r:.150}", seed)
    print(dict(counts), *wrong.items(), sep="\n")


if __name__ == "__main__":
    main()
