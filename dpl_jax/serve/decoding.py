"""Decodes strangers' images in processes of their own, under a time limit."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import subprocess
import sys
import threading
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import PIL.Image

from dpl_jax.errors import UnreadableImageError
from dpl_jax.files.printable import printable

LOG = logging.getLogger(__name__)
WORKER = "dpl_jax.serve.decode_worker"
PACKAGES = str(Path(__file__).resolve().parents[2])
# What the longest header or message of a worker can take.
MOST_WORDS = 1 << 16


class Decoder:
    """One process that decodes one image at a time; it is started again after it was killed."""

    def __init__(self, max_pixels: int, seconds: float, memory_mb: int) -> None:
        """Starts nothing yet; the limits are those of :class:`Decoders`."""
        self._max_pixels, self._seconds, self._memory_mb = max_pixels, seconds, memory_mb
        self._process: subprocess.Popen[bytes] | None = None
        self._line: Any = None

    def decode(self, data: bytes) -> PIL.Image.Image:
        """See :meth:`Decoders.decode`."""
        if self._process is None or self._process.poll() is not None:
            self.stop()
            self._start()
        process = self._process
        assert process is not None
        late = threading.Event()

        def give_up() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(self._seconds, give_up)
        timer.start()
        try:
            return self._ask(data)
        except (EOFError, OSError) as error:
            self.stop()
            why = (
                f"it takes more than {self._seconds:g} seconds to decode"
                if late.is_set()
                else "it cannot be decoded with the memory that there is"
            )
            raise UnreadableImageError(f"The file: {why}.") from error
        finally:
            timer.cancel()

    def _ask(self, data: bytes) -> PIL.Image.Image:
        self._line.send_bytes(data)
        answer = json.loads(self._line.recv_bytes(MOST_WORDS))
        if "error" in answer:
            raise UnreadableImageError(printable(str(answer["error"])))
        width, height = answer["size"]
        pixels = self._line.recv_bytes(3 * self._max_pixels)
        return PIL.Image.frombytes("RGB", (int(width), int(height)), pixels)

    def _start(self) -> None:
        self._line, theirs = Pipe()
        path = os.pathsep.join(filter(None, (PACKAGES, os.environ.get("PYTHONPATH"))))
        limits = [str(theirs.fileno()), str(self._max_pixels), str(self._memory_mb)]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-B", "-m", WORKER, *limits],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                # Each thread of the algebra library would take address space from the limit.
                env=os.environ | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
            )
        try:
            self._line.recv_bytes(MOST_WORDS)  # its start does not count
        except (EOFError, OSError) as error:
            self.stop()
            raise UnreadableImageError(
                "The file: the process that decodes did not start."
            ) from error

    def stop(self) -> None:
        """Ends the process, whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._line.close()
        self._process = None


class Decoders:
    """A few processes that decode; as many images are decoded at once, the others wait.

    They end with :meth:`close`, and by themselves when this process is gone.
    """

    def __init__(
        self, max_pixels: int, *, seconds: float = 10.0, memory_mb: int = 3072, count: int = 2
    ) -> None:
        """Starts a process when it is needed.

        Args:
          max_pixels: larger images are refused from their header.
          seconds: an image that takes longer is refused, and its process replaced.
          memory_mb: address space of each process, where the system can limit it.
          count: of processes.
        """
        self._idle: queue.Queue[Decoder] = queue.Queue()
        self._all = [Decoder(max_pixels, seconds, memory_mb) for _ in range(count)]
        for decoder in self._all:
            self._idle.put(decoder)

    def decode(self, data: bytes) -> PIL.Image.Image:
        """An encoded image as upright RGB.

        Raises:
          UnreadableImageError: no image, damaged, too large, or too slow to decode.
        """
        decoder = self._idle.get()
        try:
            return decoder.decode(data)
        finally:
            self._idle.put(decoder)

    def close(self) -> None:
        """Ends all processes; images that are being decoded are refused."""
        for decoder in self._all:
            with contextlib.suppress(ProcessLookupError):
                decoder.stop()
