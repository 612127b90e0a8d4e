"""Starts the server of the page: loopback by default, quiet, and ended by Ctrl-C."""

from __future__ import annotations

import ipaddress
import logging
import socket
from pathlib import Path

from dpl_jax.classifier import Classifier
from dpl_jax.errors import ConfigError

LOG = logging.getLogger(__name__)
# Images that wait for the one that is being classified.
MOST_CONNECTIONS = 64


def serve(
    run: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    max_upload_mb: float = 20.0,
    clip: str | None = None,
) -> None:
    """Serves the page until the process is interrupted.

    Args:
      run: folder of a finished run, or an exported one.
      host: address to listen on. Whoever reaches it can send images; there is no password.
      port: number of the port; 0 for any that is free.
      max_upload_mb: larger files are refused.
      clip: folder or hub id of the run's CLIP, where it is not found.

    Raises:
      ConfigError: when the server's packages are missing, or the address cannot be listened on.
      DplError: when ``run`` cannot be loaded.
    """
    try:
        import uvicorn

        from dpl_jax.serve.app import make_app
    except ImportError as error:
        raise ConfigError(
            f"The page needs {error.name}, which is not installed: pip install 'dpl_jax[serve]'"
        ) from error
    listening = listen(host, port)
    with listening:
        classifier = Classifier.load(run, clip)
        name = Path(run).resolve().name
        app = make_app(classifier, name, hosts=names(host), max_upload_mb=max_upload_mb)
        address = f"http://{_shown(host)}:{listening.getsockname()[1]}"
        if "*" in names(host):
            LOG.warning("Every machine that reaches this one can use the page.")
        print(f"{name} is at {address}; Ctrl-C ends it.", flush=True)
        config = uvicorn.Config(
            app, log_level="warning", limit_concurrency=MOST_CONNECTIONS, server_header=False
        )
        uvicorn.Server(config).run(sockets=[listening])


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


def names(host: str) -> list[str]:
    """What a browser may call this server; another name means a page that rebinds its own (DNS)."""
    loopback = ["localhost", "127.0.0.1", "[::1]"]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return loopback if host == "localhost" else [host]
    if address.is_unspecified:
        return ["*"]
    return loopback if address.is_loopback else [_shown(host)]


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
