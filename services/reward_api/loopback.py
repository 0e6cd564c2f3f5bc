"""Keeps web pages out of a service without keys, which answers this machine only.

A page in a browser can point its own domain name at 127.0.0.1 (DNS rebinding) and then read what a service there
answers. The browser still sends the page's name as `Host`, which is how such a request is told apart.
"""

import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from services.reward_api.errors import Forbidden, problem_response
from services.reward_api.settings import is_loopback

_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+))(?::\d*)?")


class LoopbackHosts:
    """Refuses requests whose `Host` is not this machine."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "http" and not _names_this_machine(Headers(scope=scope).getlist("Host")):
            refusal = Forbidden("without API keys only requests to localhost, 127.0.0.1 or [::1] are answered")
            answer = problem_response(status=refusal.status, type=refusal.type, detail=refusal.detail)
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _names_this_machine(hosts: list[str]) -> bool:
    match = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    return match is not None and is_loopback(match[1] or match[2])
