"""Valid documents made wrong: bytes changed anywhere, and JSON changed within its grammar."""

from __future__ import annotations

import json
import random
from typing import Any

ODD_BYTES = (b"\x00", b"\xff" * 4, b"\x7f\xff\xff\xff", b"[" * 300, b"{}", b"\n", b"-1", b"1e999")
ODD_VALUES = (
    None,
    True,
    -1,
    0,
    2**31,
    2**70,
    1.5,
    -0.0,
    1e308,
    "",
    "x" * 300,
    "../../etc/passwd",
    "../shared/payload",
    "payload",
    "configs/payload.py",
    "os.system",
    "__import__('os').abort()",
    "http://127.0.0.1:1/x",
    "owner/name",
    "a\n\n# b",
    10**400,
    "/etc/passwd",
    "a\x00b",
    "\ud800",
    "<script>alert(1)</script>",
    "\x1b[31mred",
    "$\\frac{$ {{7*7}}",
    [],
    [[]],
    [0] * 50,
    {},
    {"": {}},
)


def mutated(seed: bytes, stream: random.Random, is_json: bool) -> bytes:
    """A seed with one to six changes; half of the JSON stays JSON."""
    if is_json and stream.random() < 0.5:
        value = json.loads(seed)
        for _ in range(stream.randint(1, 4)):
            value = _changed(value, stream)
        return json.dumps(value).encode()
    contents = bytearray(seed)
    for _ in range(stream.randint(1, 6)):
        _change_bytes(contents, stream)
    return bytes(contents)


def _change_bytes(contents: bytearray, stream: random.Random) -> None:
    place = stream.randrange(len(contents) + 1)
    if stream.random() < 0.5:
        place = min(place, stream.randrange(400))  # headers come first, and matter most
    size = stream.choice((1, 1, 2, 4, 8, 50, 1000))
    match stream.randrange(6):
        case 0 if place < len(contents):
            contents[place] ^= 1 << stream.randrange(8)
        case 1 if place < len(contents):
            contents[place] = stream.randrange(256)
        case 2:
            del contents[place : place + size]
        case 3:
            contents[place:place] = contents[place : place + size]
        case 4:
            contents[place : place + stream.choice((0, 4))] = stream.choice(ODD_BYTES)
        case _:
            del contents[place + size * 20 :]


def _changed(value: Any, stream: random.Random) -> Any:
    """A JSON value with one value in it replaced, removed, doubled or renamed."""
    if not value or not isinstance(value, dict | list) or stream.random() < 0.12:
        return stream.choice(ODD_VALUES)
    if isinstance(value, list):
        items = list(value)
        place = stream.randrange(len(items))
        match stream.randrange(8):
            case 0:
                del items[place]
            case 1:
                items.insert(place, items[place])
            case _:
                items[place] = _changed(items[place], stream)
        return items
    fields = dict(value)
    key = stream.choice(list(fields))
    match stream.randrange(8):
        case 0:
            del fields[key]
        case 1:
            fields[str(stream.choice(ODD_VALUES))] = fields.pop(key)
        case _:
            fields[key] = _changed(fields[key], stream)
    return fields
