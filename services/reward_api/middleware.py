"""What happens around every request: its id, the body limit, the clock, the access log, and the last line of defence.

Plain ASGI, so that bodies stream and disconnects are seen by the endpoints.
"""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Mapping
from datetime import timedelta

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.reward_api.errors import BodyTooLarge, BodyTooSlow, unexpected_error_response
from services.reward_api.metrics import Metrics
from services.telemetry import request_context

REQUEST_ID_HEADER = "X-Request-Id"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/-]{1,128}")

BODY_PATIENCE = timedelta(seconds=30)
"""How long a body may take, besides a second for every `_SLOWEST_BYTES_PER_SECOND` bytes that have come: a client that
sends a byte now and then is cut off, one that sends a large body over a slow line is not."""

_SLOWEST_BYTES_PER_SECOND = 100_000

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
        patience: timedelta = BODY_PATIENCE,
    ) -> None:
        """`max_bytes_below` has limits of their own for a path and all paths below it: `{"/datasets": …}`."""
        self._app = app
        self._max_bytes = max_bytes
        self._max_bytes_below = max_bytes_below or {}
        self._patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "http":
            announced = Headers(scope=scope).get("Content-Length", "")
            max_bytes = self._limit_for(scope["path"])
            receive = _limited(receive, announced=announced, max_bytes=max_bytes, patience=self._patience)
        await self._app(scope, receive, send)

    def _limit_for(self, path: str) -> int:
        for prefix, max_bytes in self._max_bytes_below.items():
            if path == prefix or path.startswith(f"{prefix}/"):
                return max_bytes
        return self._max_bytes


def _limited(receive: Receive, *, announced: str, max_bytes: int, patience: timedelta) -> Receive:
    """`receive` that raises `BodyTooLarge` when more is announced, or comes, and `BodyTooSlow` until all has come."""
    num_bytes, is_whole, begun = 0, False, time.monotonic()

    async def counting() -> Message:
        nonlocal num_bytes, is_whole
        if announced.isdecimal() and int(announced) > max_bytes:
            raise BodyTooLarge(f"the body is larger than {max_bytes} bytes")
        seconds = patience.total_seconds() + num_bytes / _SLOWEST_BYTES_PER_SECOND
        try:
            async with asyncio.timeout(None if is_whole else begun + seconds - time.monotonic()):
                message = await receive()
        except TimeoutError as error:
            raise BodyTooSlow(f"no more than {num_bytes} bytes of the body came in {seconds:.1f} s") from error
        is_whole = not message.get("more_body", False)
        num_bytes += len(message.get("body", b""))
        if num_bytes > max_bytes:
            raise BodyTooLarge(f"the body is larger than {max_bytes} bytes")
        return message

    return counting


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
