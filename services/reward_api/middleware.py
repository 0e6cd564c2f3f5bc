"""What happens around every request: its id, the body limit, the clock, the access log, and the last line of defence.

Plain ASGI, so that bodies stream and disconnects are seen by the endpoints.
"""

import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.reward_api.errors import BodyTooLarge, unexpected_error_response
from services.reward_api.metrics import Metrics
from services.telemetry import request_context

REQUEST_ID_HEADER = "X-Request-Id"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/-]{1,128}")

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
    """Refuses bodies above a limit: by their announced length before reading, and by counting while reading."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "http":
            receive = self._limited(receive, announced=Headers(scope=scope).get("Content-Length", ""))
        await self._app(scope, receive, send)

    def _limited(self, receive: Receive, *, announced: str) -> Receive:
        num_bytes = 0

        async def counting() -> Message:
            nonlocal num_bytes
            if announced.isdecimal() and int(announced) > self._max_bytes:
                raise self._refusal()
            message = await receive()
            num_bytes += len(message.get("body", b""))
            if num_bytes > self._max_bytes:
                raise self._refusal()
            return message

        return counting

    def _refusal(self) -> BodyTooLarge:
        return BodyTooLarge(f"the body is larger than {self._max_bytes} bytes")


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
