"""A pixel judge behind a door, and how the tests of the judge read its answers."""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount

from services.judging.answering import AskLimits
from services.judging.judge import Judge, JudgeLimits
from services.judging.pixel_judge import PixelJudgeSettings, create_pixel_judge_app
from services.judging.questions import (
    JudgeFailure,
    PairAnswer,
)

SOON = timedelta(seconds=20)
StartJudge = Callable[..., Awaitable[Judge]]


def by_name(body: bytes) -> bytes:
    """The request with each image that has a name told by it: whether its bytes came along is a matter of the wire."""
    return re.sub(rb'"image_url":\{"url":"[^"]*"\},"uuid"', b'"image_url":null,"uuid"', body)


class Gate:
    """A pixel judge behind a door: counts chat calls, can hold them back, and can fail some of them."""

    def __init__(self, **settings: Any) -> None:
        self.calls: Counter[bytes] = Counter()  # by what is asked, see `by_name`
        self.in_flight = self.most_in_flight = self.num_cancelled = 0
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.somebody_waits = asyncio.Event()
        self.fail_next: list[Response] = []
        self._judge = create_pixel_judge_app(PixelJudgeSettings(**settings))
        self.app = Starlette(routes=[Mount("/", app=self._pass)])

    @property
    def num_calls(self) -> int:
        return self.calls.total()

    async def _pass(self, scope: Any, receive: Any, send: Any) -> None:
        if not scope["path"].endswith("/chat/completions"):
            return await self._judge(scope, receive, send)
        body = await Request(scope, receive).body()
        self.calls[by_name(body)] += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.somebody_waits.set()
        try:
            await self.is_open.wait()
            if self.fail_next:
                return await self.fail_next.pop()(scope, receive, send)

            unread = [body]

            async def again() -> Any:
                if unread:
                    return {"type": "http.request", "body": unread.pop(), "more_body": False}
                return await receive()

            return await self._judge(scope, again, send)
        except asyncio.CancelledError:
            self.num_cancelled += 1
            raise
        finally:
            self.in_flight -= 1

    def close(self) -> None:
        self.calls.clear()
        self.is_open.clear()
        self.somebody_waits.clear()


def limits(**ask: Any) -> JudgeLimits:
    """Impatient ones."""
    ask = {"first_backoff": timedelta(milliseconds=1)} | ask
    return JudgeLimits(ask=AskLimits(**ask), patience=timedelta(milliseconds=500))


def answered(results: Sequence[PairAnswer | JudgeFailure]) -> list[PairAnswer]:
    answers = [result for result in results if isinstance(result, PairAnswer)]
    assert len(answers) == len(results), results
    return answers


def margin_of(answer: PairAnswer) -> float:
    assert answer.verdict.margin is not None
    return answer.verdict.margin
