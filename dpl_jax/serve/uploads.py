"""Reading uploaded files: their length first, and never more than there is memory for."""

from __future__ import annotations

import asyncio
import re

from starlette.requests import Request

from dpl_jax.files.printable import printable

MB = 2**20
MEDIA_TYPES = {f"image/{kind}" for kind in ("jpeg", "png", "webp", "gif", "bmp", "tiff")}
BUSY = "Too many images are waiting; try again in a moment."


class UploadError(Exception):
    """An upload that is refused; ``status`` is that of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        """The message is shown to the user."""
        super().__init__(message)
        self.status = status


class Uploads:
    """All files that are being received; where they are too many bytes, the oldest is dropped.

    So clients that begin and never end cannot keep out those that end.
    """

    def __init__(self, limit: int, total: int) -> None:
        """Bytes of one file, and of all unfinished ones together (at least one file's)."""
        self._limit, self._total = limit, max(limit, total)
        self._sizes: dict[asyncio.Timeout, int] = {}

    async def read(self, request: Request) -> bytes:
        """The uploaded file.

        Raises:
          UploadError: another media type than an image's, no length, too many bytes, none, fewer
            than its length says, or no room.
          ClientDisconnect: when the client has gone.
        """
        length = check_head(request, self._limit)
        try:
            async with asyncio.timeout(None) as place:
                self._sizes[place] = 0
                body = await self._receive(request, place)
        except TimeoutError:
            raise UploadError(503, BUSY) from None
        finally:
            self._sizes.pop(place, None)
        if not body:
            raise UploadError(400, "The file is empty.")
        if length is not None and len(body) != length:
            raise UploadError(400, f"{len(body)} bytes came; Content-Length says {length}.")
        return body

    async def _receive(self, request: Request, place: asyncio.Timeout) -> bytes:
        body = bytearray()
        async for chunk in request.stream():
            if len(body) + len(chunk) > self._limit:
                raise UploadError(413, f"The file is larger than {self._limit / MB:g} MB.")
            body += chunk
            self._sizes[place] = len(body)
            self._make_room(place)
        return bytes(body)

    def _make_room(self, place: asyncio.Timeout) -> None:
        while sum(self._sizes.values()) > self._total:
            oldest = next(other for other in self._sizes if other is not place)
            del self._sizes[oldest]
            oldest.reschedule(asyncio.get_running_loop().time())


def check_head(request: Request, limit: int) -> int | None:
    """The Content-Length; None for a body in chunks.

    Raises:
      UploadError: what can be refused before the body has come.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in MEDIA_TYPES:
        raise UploadError(
            415, f"Send one of {', '.join(sorted(MEDIA_TYPES))}, not {printable(kind) or 'that'}."
        )
    length = request.headers.get("content-length")
    if request.headers.get("transfer-encoding"):
        return None
    if length is None:
        raise UploadError(411, "Send the Content-Length of the file.")
    if not re.fullmatch("[0-9]{1,18}", length):
        raise UploadError(400, "The Content-Length is not a number of bytes.")
    if int(length) > limit:
        raise UploadError(413, f"The file is larger than {limit / MB:g} MB.")
    return int(length)
