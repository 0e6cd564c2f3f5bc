"""A judge that says no for a while, to everybody: it is asked little more than it would be anyway, and soon again."""

import asyncio
import time
from itertools import pairwise

from starlette.requests import Request
from starlette.responses import Response

from tests.reliability.flawed_judge import FlawedJudge, Judgement, sound
from tests.reliability.questions import Questions, Tally

STORM_SECONDS = 2.5
RECOVERY_SECONDS = 10.0
NUM_CLIENTS = 6

RETRY_RATIO, RETRY_RESERVE = 0.1, 20
"""Retries ≤ ratio × calls + what may be saved up: services/judging/scheduling/retry_budget.py."""


class Storm:
    """For a while, one judge answers everything with `status`."""

    def __init__(self, status: int, *, retry_after: int | None = None) -> None:
        self.retry_after = retry_after
        self.judge = FlawedJudge(latency_ms=20)
        self.tally = Tally()
        self.seconds_to_recover = 0.0
        self.asked_at: list[float] = []
        """Calls while it lasted."""
        self._status = status
        self._questions = Questions(6)

    async def pass_over(self, service, *, seconds: float) -> None:
        """Clients ask before, during and after it, until each of them gets all its rewards again."""
        await self._keep_asking(service, until=0.0)
        begun, self.judge.flaw = time.monotonic(), self._say_no
        end = begun + seconds
        clients = [asyncio.create_task(self._keep_asking(service, until=end)) for _ in range(NUM_CLIENTS)]
        await asyncio.sleep(seconds)
        self.judge.flaw = sound
        self.seconds_to_recover = max(await asyncio.gather(*clients)) - end
        self.asked_at = [at for at in self.judge.asked_at if begun < at < end]

    @property
    def num_retries(self) -> int:
        """Questions that were asked before; no two clients ask the same."""
        return self.judge.num_calls - len(self.judge.questions)

    async def _say_no(self, _request: Request, _judgement: Judgement) -> Response:
        await asyncio.sleep(0.02)
        return Response(
            status_code=self._status, headers={"Retry-After": str(self.retry_after)} if self.retry_after else {}
        )

    async def _keep_asking(self, service, *, until: float) -> float:
        while True:
            batch = self._questions.batch(4)
            response = self.tally.add(batch, await service.ask(batch, deadline_seconds=2.0))
            if response is None:
                await asyncio.sleep(0.05)
            elif time.monotonic() > until and {result.status for result in response.results} == {"scored"}:
                return time.monotonic()


async def test_a_storm_is_not_answered_with_one(serve, running, scale, measured) -> None:
    storms = {"429": Storm(429, retry_after=1), "503": Storm(503, retry_after=1), "500": Storm(500)}

    async def weather(storm: Storm) -> None:
        async with running(f"{serve(storm.judge.app)}/v1") as service:
            await storm.pass_over(service, seconds=STORM_SECONDS * scale)

    await asyncio.gather(*map(weather, storms.values()))
    for name, storm in storms.items():
        measured[f"{name}: groups"] = dict(storm.tally.statuses)
        measured[f"{name}: calls in the storm"] = len(storm.asked_at)
        measured[f"{name}: retries of all calls"] = f"{storm.num_retries} of {storm.judge.num_calls}"
        measured[f"{name}: seconds to recover"] = round(storm.seconds_to_recover, 2)
    for storm in storms.values():
        assert storm.tally.statuses["failed"] > 0
        assert storm.num_retries <= RETRY_RATIO * storm.judge.num_calls + RETRY_RESERVE
        assert storm.seconds_to_recover <= RECOVERY_SECONDS
        assert storm.tally.failures.keys() <= {"judge-overloaded", "judge-unavailable", "judge-timeout"}
        assert storm.tally.violations == []
        if storm.retry_after is not None:
            assert max(later - sooner for sooner, later in pairwise(storm.asked_at)) >= 0.95 * storm.retry_after
