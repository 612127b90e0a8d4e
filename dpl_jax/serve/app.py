"""The page and its one question: POST an image to /predict, get probabilities and a map.

Nothing is stored. The body is the image file itself, with its own media type: a page of another
site cannot send that here without asking first (CORS), and is never allowed to.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jinja2
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dpl_jax.classifier import Classifier
from dpl_jax.errors import DplError
from dpl_jax.printable import printable
from dpl_jax.serve.answer import answer

MB = 2**20
MEDIA_TYPES = {f"image/{kind}" for kind in ("jpeg", "png", "webp", "gif", "bmp", "tiff")}
ASSETS = {"page.css": "text/css", "page.js": "text/javascript"}
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


class UploadError(Exception):
    """An upload that is refused; ``status`` is that of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        """The message is shown to the user."""
        super().__init__(message)
        self.status = status


def make_app(
    classifier: Classifier, name: str, *, hosts: Sequence[str], max_upload_mb: float
) -> Starlette:
    """The application; the classifier answers one image at a time.

    Args:
      classifier: of the run.
      name: of the run, for the page.
      hosts: what the Host header may say; "*" for anything.
      max_upload_mb: larger files are refused before they are read to the end.
    """
    page = render_page(classifier, name, max_upload_mb)
    turn = threading.Lock()

    def classify(data: bytes) -> dict[str, Any]:
        with turn:
            return answer(classifier, data)

    async def show(request: Request) -> Response:
        return HTMLResponse(page)

    async def predict(request: Request) -> Response:
        try:
            data = await read_body(request, int(max_upload_mb * MB))
            return JSONResponse(await run_in_threadpool(classify, data))
        except UploadError as error:
            return JSONResponse({"error": str(error)}, status_code=error.status)
        except DplError as error:
            return JSONResponse({"error": str(error)}, status_code=422)

    return Starlette(
        routes=[
            Route("/", show),
            Route("/predict", predict, methods=["POST"]),
            *(Route(f"/{file}", _asset(file, kind)) for file, kind in ASSETS.items()),
        ],
        middleware=[
            Middleware(SafeHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
        ],
    )


def render_page(classifier: Classifier, name: str, max_upload_mb: float) -> str:
    """The page's HTML, every name in it escaped."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("dpl_jax.serve", ""),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return templates.get_template("page.html.jinja").render(
        name=printable(name),
        classes=[printable(classname) for classname in classifier.classnames],
        template=printable(classifier.template),
        clip=printable(classifier.clip.source),
        max_upload_mb=max_upload_mb,
        accept=",".join(sorted(MEDIA_TYPES)),
    )


async def read_body(request: Request, limit: int) -> bytes:
    """The uploaded file.

    Raises:
      UploadError: for another media type than an image's, or more than ``limit`` bytes.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in MEDIA_TYPES:
        raise UploadError(
            415, f"Send one of {', '.join(sorted(MEDIA_TYPES))}, not {printable(kind) or 'that'}."
        )
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise UploadError(413, f"The file is larger than {limit / MB:g} MB.")
    if not body:
        raise UploadError(400, "The file is empty.")
    return bytes(body)


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


def _asset(file: str, kind: str) -> Callable[[Request], Any]:
    text = (Path(__file__).parent / file).read_text(encoding="utf-8")

    async def send(request: Request) -> Response:
        return Response(text, media_type=kind)

    return send
