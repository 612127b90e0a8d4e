"""Who may ask the page's server: known names, own pages, and beyond this machine a token."""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dpl_jax.errors import ConfigError
from dpl_jax.serve.headers import HEADERS

LOOPBACK = ["localhost", "127.0.0.1", "[::1]"]
COOKIE = "dpl_token"
HOST = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\]", re.IGNORECASE)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens at ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def names(host: str, allowed_hosts: Sequence[str] = ()) -> list[str]:
    """What a browser may call this server; another name means a page that rebinds its own (DNS).

    Args:
      host: address that the server listens on.
      allowed_hosts: names without port; needed where other machines reach the server.

    Raises:
      ConfigError: when they are needed and not given, or are no names.
    """
    for name in allowed_hosts:
        if not HOST.fullmatch(name):
            raise ConfigError(
                f"--allowed_hosts: {name!r} is not the name or address of a host, without port, "
                "such as photos.lan, 192.0.2.7 or [2001:db8::7]."
            )
    if is_loopback(host):
        return [*LOOPBACK, *(name for name in allowed_hosts if name not in LOOPBACK)]
    if not allowed_hosts:
        raise ConfigError(
            f"--host={host} lets other machines reach the page. Say with --allowed_hosts=NAME,.. "
            "by which names or addresses they do, for example --allowed_hosts=photos.lan,192.0.2.7."
        )
    return list(allowed_hosts)


class SafeHeaders:
    """Adds to every answer what keeps a browser from running or keeping what is not ours."""

    def __init__(self, app: ASGIApp) -> None:
        """Wraps an application."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""

        async def send_safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                ours = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", ()), *ours]}
            await send(message)

        await self.app(scope, receive, send_safe)


class Guard:
    """Refuses what another site's page sends, and where there is a token, who does not have it.

    The token comes as ``?token=``, for which a browser gets a cookie and an address without it, or
    as ``Authorization: Bearer``.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        """Wraps an application; no token where only this machine reaches it."""
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        answer = self._answer(Request(scope)) if scope["type"] == "http" else None
        await (answer or self.app)(scope, receive, send)

    def _answer(self, request: Request) -> Response | None:
        if request.method not in ("GET", "HEAD") and _is_foreign(request):
            return PlainTextResponse("Pages of other sites may not ask.", status_code=403)
        if self.token is None:
            return None
        if self._has(request.query_params.get("token")):
            if request.method != "GET":
                return None
            answer = RedirectResponse(request.url.path, status_code=303)
            answer.set_cookie(COOKIE, self.token, httponly=True, samesite="strict")
            return answer
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        bearer = given.strip() if scheme.lower() == "bearer" else None
        if self._has(request.cookies.get(COOKIE)) or self._has(bearer):
            return None
        message = "Open the address with ?token= that launch/serve.py has printed."
        return PlainTextResponse(message, status_code=403)

    def _has(self, given: str | None) -> bool:
        assert self.token is not None
        return given is not None and secrets.compare_digest(given.encode(), self.token.encode())


def _is_foreign(request: Request) -> bool:
    """Whether a browser says that the request is from a page of another site."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    if site not in (None, "same-origin", "none"):
        return True
    if origin is None:
        return False
    try:
        return urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower()
    except ValueError:
        return True
