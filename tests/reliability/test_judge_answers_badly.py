"""A judge that answers rubbish, late or never: typed failures in time, nothing remembered, nothing made up."""

import asyncio
import json
import time
from collections import Counter
from itertools import cycle
from random import Random

from starlette.requests import Request
from starlette.responses import Response

from tests.reliability.flawed_judge import FlawedJudge, Judgement, sound, until_gone
from tests.reliability.measures import percentiles
from tests.reliability.questions import Questions, Tally
from tests.reliability.spoilt_answers import SPOILT

SPOILT_SHARE = 0.2


async def test_spoilt_answers_fail_their_pair_and_are_forgotten(serve, running, scale, measured) -> None:
    judge, tally, dice, questions = FlawedJudge(), Tally(), Random(4), Questions(4)
    spoilt_by_kind: Counter[str] = Counter()
    kinds = cycle(SPOILT)

    async def spoil_some(_request: Request, judgement: Judgement) -> Response:
        answer = await judgement()
        if dice.random() >= SPOILT_SHARE:
            return answer
        kind = next(kinds)
        spoilt_by_kind[kind] += 1
        return Response(SPOILT[kind](json.loads(bytes(answer.body)), dice), media_type="application/json")

    async with running(f"{serve(judge.app)}/v1") as service:
        for _ in range(2 * scale):
            judge.flaw = spoil_some
            batch, num_spoilt = questions.batch(60), spoilt_by_kind.total()
            spoilt = tally.add(batch, await service.ask(batch))
            num_spoilt = spoilt_by_kind.total() - num_spoilt
            judge.flaw = sound
            again = tally.add(batch, await service.ask(batch))
            assert spoilt is not None
            assert again is not None
            assert {result.status for result in again.results} == {"scored"}
            assert spoilt.usage.judge_calls == batch.num_calls  # a bad answer is not asked for again
            assert again.usage.judge_calls == num_spoilt  # and nothing of it was kept
    measured["groups"] = dict(tally.statuses)
    measured["failures"] = dict(tally.failures)
    measured["spoilt answers"] = spoilt_by_kind.total()
    assert spoilt_by_kind.keys() == SPOILT.keys()
    assert tally.failures.keys() <= {"judge-malformed", "judge-off-topic", "judge-refused"}
    assert tally.violations == []


async def test_a_judge_that_never_answers_holds_nobody_beyond_the_deadline(serve, running, scale, measured) -> None:
    judge, tally, questions = FlawedJudge(), Tally(), Questions(5)
    num_abandoned = 0

    async def stall_every_third(request: Request, judgement: Judgement) -> Response:
        nonlocal num_abandoned
        if judge.num_calls % 3:
            return await judgement()
        await until_gone(request)
        num_abandoned += 1
        return Response()

    seconds_late: list[float] = []
    deadline_seconds = 1.0

    async def ask_once(service) -> None:
        batch, begun = questions.batch(2), time.monotonic()
        if tally.add(batch, await service.ask(batch, deadline_seconds=deadline_seconds)) is not None:
            seconds_late.append(time.monotonic() - begun - deadline_seconds)

    async with running(f"{serve(judge.app)}/v1") as service:
        for _ in range(scale):
            judge.flaw = stall_every_third
            await asyncio.gather(*(ask_once(service) for _ in range(10)))
            async with asyncio.timeout(1.0):  # the service has hung up on what it no longer waits for
                while judge.num_in_flight:  # noqa: ASYNC110 - it changes on another thread
                    await asyncio.sleep(0.01)
            assert await service.metric("arr_judge_in_flight") == 0
            judge.flaw = sound
            batch = questions.batch(20)
            after = tally.add(batch, await service.ask(batch))
            assert after is not None
            assert {result.status for result in after.results} == {"scored"}
    measured["groups"] = dict(tally.statuses)
    measured["refused"] = dict(tally.refusals)
    measured["answered after the deadline by"] = percentiles(seconds_late)
    assert num_abandoned > 0
    assert tally.failures.keys() == {"judge-timeout"}
    assert max(seconds_late) < 1.0  # promised is a quarter of it; this machine may be busy
    assert tally.violations == []
