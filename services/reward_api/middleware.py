"""What happens around every request: its id, the body limit, the clock, the access log, and the last line of defence.

Plain ASGI, so that bodies stream and disconnects are seen by the endpoints.
"""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import timedelta

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.reward_api.errors import BodyTooLarge, BodyTooSlow, unexpected_error_response
from services.reward_api.metrics import Metrics
from services.telemetry import request_context

REQUEST_ID_HEADER = "X-Request-Id"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/-]{1,128}")

SLOWEST_BYTES_PER_SECOND = 100_000
"""A body may come at this rate for as long as it is large; 0.8 Mbit/s."""

_log = logging.getLogger(__name__)


class RequestContext:
    """Names each request, measures it, and answers a bug with a 500 that says nothing and a log line that says all."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        answer = _Answer(send, request_id)
        start = time.perf_counter()
        with request_context(request_id):
            try:
                await self._app(scope, receive, answer.send)
            except Exception:
                _log.exception("unexpected error")
                if answer.status is not None:
                    raise
                await unexpected_error_response()(scope, receive, answer.send)
            finally:
                self._record(scope, answer.status, seconds=time.perf_counter() - start)

    def _record(self, scope: Scope, status: int | None, *, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        method, status_text = scope["method"], "aborted" if status is None else str(status)
        self._metrics.observe_request(method=method, route=route, status=status_text, seconds=seconds)
        fields = {"method": method, "route": route, "status": status_text, "ms": round(1000 * seconds, 1)}
        _log.info("request", extra=fields)


class BodyLimit:
    """Refuses bodies above a limit, by their announced length and by counting while reading, and bodies that crawl."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_bytes: int,
        max_bytes_below: Mapping[str, int] | None = None,
        patience: timedelta,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`max_bytes_below` has limits of their own for a path and all paths below it: `{"/datasets": …}`.

        `patience` is how long nothing of a body may come. It shrinks by the seconds that a body keeps us waiting and
        grows, up to that, by one for every `SLOWEST_BYTES_PER_SECOND` bytes: what brings a byte now and then is cut off
        as soon as what stops, and a large body over a slow line is not. `clock` counts seconds.
        """
        self._app = app
        self._max_bytes = max_bytes
        self._max_bytes_below = max_bytes_below or {}
        self._patience = patience
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "http":
            body = _Body(
                receive,
                announced=Headers(scope=scope).get("Content-Length", ""),
                max_bytes=self._limit_for(scope["path"]),
                patience_seconds=self._patience.total_seconds(),
                clock=self._clock,
            )
            receive = body.receive
        await self._app(scope, receive, send)

    def _limit_for(self, path: str) -> int:
        for prefix, max_bytes in self._max_bytes_below.items():
            if path == prefix or path.startswith(f"{prefix}/"):
                return max_bytes
        return self._max_bytes


class _Body:
    """The body of one request as it comes."""

    def __init__(
        self, receive: Receive, *, announced: str, max_bytes: int, patience_seconds: float, clock: Callable[[], float]
    ) -> None:
        self._receive = receive
        self._is_announced_too_large = announced.isdecimal() and int(announced) > max_bytes
        self._max_bytes = max_bytes
        self._longest_seconds = self._seconds_left = patience_seconds
        self._clock = clock
        self._num_bytes = 0
        self._is_whole = False

    async def receive(self) -> Message:
        """The next message. Raises `BodyTooLarge` and, until all of the body has come, `BodyTooSlow`."""
        if self._is_announced_too_large:
            raise self._too_large()
        message = await (self._receive() if self._is_whole else self._wait())
        size = len(message.get("body", b""))
        self._num_bytes += size
        self._seconds_left = min(self._longest_seconds, self._seconds_left + size / SLOWEST_BYTES_PER_SECOND)
        self._is_whole = not message.get("more_body", False)
        if self._num_bytes > self._max_bytes:
            raise self._too_large()
        return message

    async def _wait(self) -> Message:
        """Time between two calls is the service's own: while it reads slowly, a client cannot send faster."""
        waiting_since = self._clock()
        try:
            async with asyncio.timeout(self._seconds_left):
                message = await self._receive()
        except TimeoutError as error:
            raise self._too_slow() from error
        self._seconds_left -= self._clock() - waiting_since
        if self._seconds_left < 0:
            raise self._too_slow()
        return message

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"the body is larger than {self._max_bytes} bytes")

    def _too_slow(self) -> BodyTooSlow:
        patience = f"{self._longest_seconds:g} s"
        return BodyTooSlow(f"after {self._num_bytes} bytes the body stood still for {patience}, or crawled for longer")


class _Answer:
    """Passes an answer on, adding the request id and remembering the status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)[REQUEST_ID_HEADER] = self._request_id
        await self._send(message)


def _request_id(scope: Scope) -> str:
    """The client's id if it is harmless, else a new one."""
    given = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
