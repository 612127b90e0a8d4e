"""uvicorn's HTTP protocol with what it has no setting for: deadlines, and room for new clients."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from dpl_jax.serve.headers import HEADERS


@dataclasses.dataclass(frozen=True)
class Patience:
    """How long a connection may take, in seconds, and how many there may be.

    Attributes:
      headers: from the connection, or the answer before, to the last byte of a request's head.
      body: from there to the last byte of its body.
      reading: for a client that does not read its answer.
      idle: between two requests.
      connections: beyond them, the one that has kept the server waiting longest is closed.
    """

    headers: float = 10.0
    body: float = 60.0
    reading: float = 60.0
    idle: float = 5.0
    connections: int = 256


class BoundedProtocol(H11Protocol):
    """One connection, closed when its client takes too long or too many others want one."""

    def __init__(self, *arguments: Any, patience: Patience, **named: Any) -> None:
        """Of uvicorn, and the limits."""
        super().__init__(*arguments, **named)
        self._patience = patience
        self._timer: asyncio.TimerHandle | None = None
        self._waits_for: tuple[str, object] | None = None
        self._since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the deadline; where there are too many connections, one that waits makes room."""
        super().connection_made(transport)
        self._watch()
        if len(self.connections) > self._patience.connections:
            ours = (c for c in self.connections if isinstance(c, BoundedProtocol))
            waiting = [c for c in ours if c._waits_for is not None]
            min(waiting, key=lambda c: c._since).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the deadline."""
        self._set(None, 0.0)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Takes a part of a request."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Waits for the next request."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        self._set(("reading", self.cycle), self._patience.reading)

    def resume_writing(self) -> None:
        """The client has read on."""
        super().resume_writing()
        self._set(None, 0.0)
        self._watch()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Half a request is refused; a whole one is answered though the client sends no more."""
        if self.conn.their_state is h11.SEND_BODY:
            self.refuse(400, "The body is shorter than its Content-Length says.")
        elif self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self.refuse(400, "The request is not whole.")
        return self.cycle is not None and not self.cycle.response_complete

    def shutdown(self) -> None:
        """The server ends: who is being answered still gets the answer."""
        if self._waits_for is not None:
            self.transport.abort()
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Refuses what is no HTTP."""
        self.refuse(400, msg)

    def refuse(self, status: int, message: str) -> None:
        """Answers in the application's place, where nothing was answered yet, and closes."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = message.encode("ascii")
            named = {
                **HEADERS,
                "content-type": "text/plain; charset=utf-8",
                "content-length": str(len(body)),
                "connection": "close",
            }
            head = h11.Response(status_code=status, headers=list(named.items()))
            for event in (head, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()
        self._set(("reading", self.cycle), self._patience.headers)

    def _watch(self) -> None:
        """Starts another deadline where the client has come to another part of its request."""
        if self.transport.is_closing() or (self._waits_for or ("",))[0] == "reading":
            return
        state = self.conn.their_state
        if state is h11.IDLE:
            self._set(("headers", self.cycle), self._patience.headers)
        elif state is h11.SEND_BODY:
            self._set(("body", self.cycle), self._patience.body)
        else:
            self._set(None, 0.0)

    def _set(self, waits_for: tuple[str, object] | None, seconds: float) -> None:
        if waits_for == self._waits_for:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if waits_for is None else self.loop.call_later(seconds, self._expire)
        self._waits_for, self._since = waits_for, self.loop.time()

    def _expire(self) -> None:
        what = (self._waits_for or ("",))[0]
        silent = what == "headers" and not self.conn.trailing_data[0]
        if what == "reading" or silent or self.transport.is_closing():
            self.transport.abort()
        else:
            self.refuse(
                408, f"The {what} took more than {getattr(self._patience, what):g} seconds."
            )
