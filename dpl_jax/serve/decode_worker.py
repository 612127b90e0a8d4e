"""The process that decodes strangers' images for the page: no JAX, and bounded memory.

It speaks over one socket: an encoded image comes in; out go a line of JSON (``size`` or ``error``)
and, for an image, its RGB bytes. Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import sys
from multiprocessing.connection import Connection

import PIL.Image

from dpl_jax.data.images import read_image
from dpl_jax.data.split import Item
from dpl_jax.errors import UnreadableImageError


class Upload:
    """An uploaded file, as a record that images are read from."""

    def __init__(self, data: bytes) -> None:
        """The bytes of the file."""
        self._data = data

    def read(self) -> bytes:
        """The bytes of the encoded image."""
        return self._data


def decode(data: bytes, max_pixels: int) -> PIL.Image.Image:
    """An uploaded image as upright RGB.

    Raises:
      UnreadableImageError: when it is no image, damaged or too large.
    """
    item = Item(Upload(data), label=0, classname="", name="The file")
    return read_image(item, max_pixels=max_pixels, advice="")


def bound(memory_mb: int) -> None:
    """Limits this process's memory, where the system can; it writes no files and no core."""
    limits = {
        resource.RLIMIT_AS: memory_mb << 20,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for kind, limit in limits.items():
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (limit, limit))


def main() -> None:
    """Decodes until the other side is gone: FILE_DESCRIPTOR MAX_PIXELS MEMORY_MB."""
    descriptor, max_pixels, memory_mb = map(int, sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's, which ends this one
    bound(memory_mb)
    with Connection(descriptor) as line, contextlib.suppress(EOFError, ConnectionError):
        line.send_bytes(b"ready")
        while True:
            try:
                image = decode(line.recv_bytes(), max_pixels)
                pixels = image.tobytes()
            except MemoryError:
                answer = {"error": "The file: there is not enough memory to decode it."}
            except UnreadableImageError as error:
                answer = {"error": str(error)}
            else:
                line.send_bytes(json.dumps({"size": image.size}).encode())
                line.send_bytes(pixels)
                continue
            line.send_bytes(json.dumps(answer).encode())


if __name__ == "__main__":
    main()
