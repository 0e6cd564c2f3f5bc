"""Serving an ASGI application: the port first, then the application, then one line that says where it is."""

import gc
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from types import FrameType
from typing import Any

import uvicorn

from arr.console import ExitCode, fail, note

LAST_ANSWERS = timedelta(seconds=30)
"""How long requests under way may take once the server was asked to stop."""


class _AnnouncingServer(uvicorn.Server):
    """uvicorn, with a line of our own once requests are really answered."""

    announcement = ""
    on_stop: Callable[[], None] | None = None
    drain = timedelta()
    _leaves_at: float | None = None
    """On the monotonic clock; none until a signal came."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then listen, then say so."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()  # what is imported stays for good; each full collection would stop the loop to look through it
        note(self.announcement)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Leave: at once for Ctrl-C, without the last answers for a second one, after the draining for SIGTERM.

        The signal has done its work then, and the process ends with code 0.
        """
        if sig == signal.SIGINT:
            self.force_exit = self._leaves_at is not None
            self._leaves_at = time.monotonic()
        elif self._leaves_at is None:
            self._leaves_at = time.monotonic() + self.drain.total_seconds()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: True = close the port and wait for the last answers."""
        await super().on_tick(counter)
        if self._leaves_at is None:
            return False
        if self.on_stop is not None:
            self.on_stop()
        return time.monotonic() >= self._leaves_at


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


def run_app(
    app: Any,
    listener: socket.socket,
    *,
    name: str,
    on_stop: Callable[[], None] | None = None,
    drain: timedelta = timedelta(),
) -> None:
    """Serve `app` (any ASGI application) until interrupted.

    `on_stop` is called as soon as a signal came, maybe more than once. After SIGTERM new requests are taken for the
    length of `drain`; then the port is closed and the last answers are awaited.
    """
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=LAST_ANSWERS // timedelta(seconds=1),
    )
    server = _AnnouncingServer(config)
    server.on_stop = on_stop
    server.drain = drain
    server.announcement = f"The {name} answers at {url} (stop it with Ctrl-C)."
    with suppress(KeyboardInterrupt):  # uvicorn has shut down in order by then
        server.run(sockets=[listener])
