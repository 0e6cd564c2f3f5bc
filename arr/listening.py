"""Serving an ASGI application: the port first, then the application, then one line that says where it is."""

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvicorn

from arr.console import ExitCode, fail, note

_LAST_ANSWERS_SECONDS = 30
"""How long requests under way may take once the server was asked to stop."""


class _AnnouncingServer(uvicorn.Server):
    """uvicorn, with a line of our own once requests are really answered."""

    announcement = ""
    on_stop: Callable[[], None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then listen, then say so."""
        await super().startup(sockets)
        note(self.announcement)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Say that it is over, then wait for the last answers."""
        if self.on_stop is not None:
            self.on_stop()
        await super().shutdown(sockets)


def open_socket(host: str, port: int) -> socket.socket:
    """Bind a TCP port without listening yet; ends the command with one line when it cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        fail(f"cannot listen on {host}:{port}: {error.strerror}; choose another with --port", code=ExitCode.USAGE)
    return listener


def run_app(app: Any, listener: socket.socket, *, name: str, on_stop: Callable[[], None] | None = None) -> None:
    """Serve `app` (any ASGI application) until interrupted; `on_stop` is called before the last answers are awaited."""
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_LAST_ANSWERS_SECONDS,
    )
    server = _AnnouncingServer(config)
    server.on_stop = on_stop
    server.announcement = f"The {name} answers at {url} (stop it with Ctrl-C)."
    with suppress(KeyboardInterrupt):  # uvicorn has shut down in order by then
        server.run(sockets=[listener])
