"""The pixel judge as a server of its own, with whatever flaw a test gives it, and a count of what it was asked."""

import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount

from services.judging.pixel_judge import PixelJudgeSettings, create_pixel_judge_app
from tests.judging.gated_judge import by_name
from tests.reliability.questions import POSITION_BIAS

Judgement: TypeAlias = Callable[[], Awaitable[Response]]
"""Has the pixel judge answer."""

Flaw: TypeAlias = Callable[[Request, Judgement], Awaitable[Response]]
"""What is answered to a question, in place of the judgement or with its help."""


async def sound(_request: Request, judgement: Judgement) -> Response:
    """No flaw."""
    return await judgement()


async def until_gone(request: Request) -> None:
    """Return when the client has hung up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class FlawedJudge:
    """Serve `app`; set `flaw` at any time, from any thread."""

    def __init__(self, **settings: Any) -> None:
        self.flaw: Flaw = sound
        self.questions: Counter[bytes] = Counter()
        """How often each question was asked."""
        self.asked_at: list[float] = []
        """When, seconds of the monotonic clock."""
        self.num_in_flight = 0
        self._judge = create_pixel_judge_app(PixelJudgeSettings(position_bias=POSITION_BIAS, **settings))
        self.app = Starlette(routes=[Mount("/", app=self._pass)])

    @property
    def num_calls(self) -> int:
        """Judgements asked for, in all."""
        return self.questions.total()

    async def _pass(self, scope: Any, receive: Any, send: Any) -> None:
        if not scope["path"].endswith("/chat/completions"):
            await self._judge(scope, receive, send)
            return
        request = Request(scope, receive)
        body = await request.body()
        self.questions[by_name(body)] += 1
        self.asked_at.append(time.monotonic())
        self.num_in_flight += 1
        try:
            response = await self.flaw(request, lambda: self._judgement(scope, receive, body))
        finally:
            self.num_in_flight -= 1
        await response(scope, receive, send)

    async def _judgement(self, scope: Any, receive: Any, body: bytes) -> Response:
        unread, sent = [body], []

        async def again() -> Any:
            return {"type": "http.request", "body": unread.pop(), "more_body": False} if unread else await receive()

        async def keep(message: Any) -> None:
            sent.append(message)

        await self._judge(scope, again, keep)
        content = b"".join(message.get("body", b"") for message in sent)
        return Response(content, sent[0]["status"], media_type="application/json")
