"""The page and its one question: POST an image to /predict, get probabilities and a map.

Nothing is stored. The body is the image file itself, with its own media type: a page of another
site cannot send that here without asking first (CORS), and is never allowed to.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import jinja2
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from dpl_jax.errors import DplError
from dpl_jax.files.printable import printable
from dpl_jax.inference.classifier import Classifier
from dpl_jax.serve.access import Guard, SafeHeaders
from dpl_jax.serve.answer import MAX_PIXELS, answer
from dpl_jax.serve.decoding import Decoders
from dpl_jax.serve.uploads import BUSY, MB, MEDIA_TYPES, UploadError, Uploads

ASSETS = {"page.css": "text/css", "page.js": "text/javascript"}
# Whole files that wait for the one that is being classified, and bytes of unfinished ones.
MOST_WAITING, MOST_PENDING = 16, 256 * MB
RETRY_SECONDS = 2


def make_app(
    classifier: Classifier,
    name: str,
    *,
    hosts: Sequence[str],
    max_upload_mb: float,
    token: str | None = None,
    decoders: Decoders | None = None,
    most_waiting: int = MOST_WAITING,
    most_pending: int = MOST_PENDING,
) -> ASGIApp:
    """The application; the classifier answers one image at a time.

    Args:
      classifier: of the run.
      name: of the run, for the page.
      hosts: what the Host header may say.
      max_upload_mb: larger files are refused before they are read.
      token: what clients have to know; None where only this machine reaches the server.
      decoders: processes that decode; they are closed when the application ends.
      most_waiting: whole files that may wait for an answer; more get status 503.
      most_pending: bytes of unfinished files; beyond them the oldest gets status 503.
    """
    page = render_page(classifier, name, max_upload_mb)
    turn = threading.Lock()
    decoders = decoders or Decoders(MAX_PIXELS)
    uploads = Uploads(int(max_upload_mb * MB), most_pending)
    waiting = 0

    def classify(data: bytes) -> dict[str, Any]:
        image = decoders.decode(data)
        with turn:
            return answer(classifier, image)

    async def show(request: Request) -> Response:
        return HTMLResponse(page)

    async def wait(data: bytes) -> dict[str, Any]:
        nonlocal waiting
        if waiting >= most_waiting:
            raise UploadError(503, BUSY)
        waiting += 1
        try:
            return await run_in_threadpool(classify, data)
        finally:
            waiting -= 1

    async def predict(request: Request) -> Response:
        try:
            return JSONResponse(await wait(await uploads.read(request)))
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to see it
        except UploadError as error:
            headers = {"retry-after": str(RETRY_SECONDS)} if error.status == 503 else None
            return JSONResponse({"error": str(error)}, error.status, headers)
        except DplError as error:
            return JSONResponse({"error": str(error)}, status_code=422)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        with contextlib.closing(decoders):
            yield

    app = Starlette(
        routes=[
            Route("/", show),
            Route("/predict", predict, methods=["POST"]),
            *(Route(f"/{file}", _asset(file, kind)) for file, kind in ASSETS.items()),
        ],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
            Middleware(Guard, token=token),
        ],
        lifespan=lifespan,
    )
    return SafeHeaders(app)  # around Starlette's own answer to errors, too


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


def _asset(file: str, kind: str) -> Callable[[Request], Any]:
    text = (Path(__file__).parent / file).read_text(encoding="utf-8")

    async def send(request: Request) -> Response:
        return Response(text, media_type=kind)

    return send
