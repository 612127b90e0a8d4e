"""Starts the server of the page: loopback by default, quiet, and ended by Ctrl-C."""

from __future__ import annotations

import functools
import secrets
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpl_jax.errors import ConfigError

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp

    from dpl_jax.serve.bounded import Patience

# What a request that is being answered may take of Ctrl-C's patience.
END_SECONDS = 30


def serve(
    run: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    max_upload_mb: float = 20.0,
    clip: str | None = None,
    allowed_hosts: Sequence[str] = (),
) -> None:
    """Serves the page until the process is interrupted.

    Args:
      run: folder of a finished run, or an exported one.
      host: address to listen on. One that other machines reach needs ``allowed_hosts``, and
        clients the token that is printed with the page's address.
      port: number of the port; 0 for any that is free.
      max_upload_mb: larger files are refused.
      clip: folder or hub id of the run's CLIP, where it is not found.
      allowed_hosts: names by which browsers may call the server, besides those of loopback.

    Raises:
      ConfigError: when the server's packages are missing, or the address cannot be listened on.
      DplError: when ``run`` cannot be loaded.
    """
    try:
        import uvicorn  # noqa: F401

        from dpl_jax.serve.access import is_loopback, names
        from dpl_jax.serve.app import make_app
        from dpl_jax.serve.bounded import Patience
    except ImportError as error:
        raise ConfigError(
            f"The page needs {error.name}, which is not installed: pip install 'dpl_jax[serve]'"
        ) from error
    from dpl_jax.inference.classifier import Classifier

    hosts, secret = names(host, allowed_hosts), not is_loopback(host)
    token = secrets.token_urlsafe(32) if secret else None
    with listen(host, port) as listening:
        classifier = Classifier.load(run, clip)
        name = Path(run).resolve().name
        app = make_app(classifier, name, hosts=hosts, max_upload_mb=max_upload_mb, token=token)
        address = f"http://{hosts[0] if secret else _shown(host)}:{listening.getsockname()[1]}"
        if token:
            address += f"/?token={token}"
        print(f"{name} is at {address}; Ctrl-C ends it.", flush=True)
        server(app, Patience()).run(sockets=[listening])


def server(app: ASGIApp, patience: Patience) -> uvicorn.Server:
    """The server of an application, quiet and with deadlines."""
    import uvicorn

    from dpl_jax.serve.bounded import BoundedProtocol

    protocol: Any = functools.partial(BoundedProtocol, patience=patience)
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        log_level="error",  # what strangers send is no news
        access_log=False,  # nor is the token anybody's
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=patience.idle,  # type: ignore[arg-type]
        timeout_graceful_shutdown=END_SECONDS,
    )
    return uvicorn.Server(config)


def listen(host: str, port: int) -> socket.socket:
    """An open socket at ``host`` and ``port``.

    Raises:
      ConfigError: when there is no such address, or it is taken.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(f"--port is {port}; it must be 0 to 65535.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(address)
            listening.listen()
        except BaseException:
            listening.close()
            raise
    except OSError as error:
        raise ConfigError(
            f"The page cannot be served at {host}:{port} ({error.strerror or error}). Choose "
            "another one with --port (0 takes any that is free) or --host."
        ) from error
    return listening


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
