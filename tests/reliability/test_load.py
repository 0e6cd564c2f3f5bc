"""More load than there is room for, shared between those who ask."""

import asyncio
import re
import time
from collections import Counter

import httpx
from starlette.requests import Request
from starlette.responses import Response

from tests.reliability.flawed_judge import FlawedJudge, Judgement
from tests.reliability.measures import percentiles
from tests.reliability.questions import Questions, Tally


async def test_a_hundred_equal_requests_ask_each_question_once(serve, running, scale, measured) -> None:
    judge, tally, questions = FlawedJudge(latency_ms=20), Tally(), Questions(8)
    seconds: list[float] = []
    async with running(f"{serve(judge.app)}/v1") as service:
        for _ in range(scale):
            batch = questions.batch(5)

            async def ask_once(batch=batch) -> None:
                begun = time.monotonic()
                tally.add(batch, await service.ask(batch))
                seconds.append(time.monotonic() - begun)

            judge.questions.clear()
            await asyncio.gather(*(ask_once() for _ in range(100)))
            assert set(judge.questions.values()) == {1}
            assert judge.num_calls == batch.num_calls
    measured["groups"] = dict(tally.statuses)
    measured["latency"] = percentiles(seconds)
    assert tally.statuses == {"scored": 500 * scale}
    assert tally.violations == []


async def test_tenants_never_answer_each_other(serve, running, scale, measured) -> None:
    num_tenants, judge, tally, questions = 5, FlawedJudge(), Tally(), Questions(9)
    async with running(f"{serve(judge.app)}/v1", num_tenants=num_tenants) as service:
        for _ in range(scale):
            batch = questions.batch(10)

            async def ask_as(tenant: int, batch=batch) -> httpx.Response:
                answer: httpx.Response = await service.ask(batch, tenant=tenant)
                tally.add(batch, answer)
                return answer

            judge.questions.clear()
            await asyncio.gather(*map(ask_as, range(num_tenants)))
            assert set(judge.questions.values()) == {num_tenants}
            again = await asyncio.gather(*map(ask_as, range(num_tenants)))
            assert judge.num_calls == num_tenants * batch.num_calls
            assert {answer.json()["usage"]["cached_verdicts"] for answer in again} == {batch.num_calls}
    measured["groups"] = dict(tally.statuses)
    assert tally.statuses == {"scored": tally.num_groups}
    assert tally.violations == []


async def test_ten_times_too_much_is_refused_and_the_rest_is_done(serve, running, scale, measured) -> None:
    judge, tally, questions = FlawedJudge(capacity=4, latency_ms=200), Tally(), Questions(10)
    refused: list[float] = []
    pairs_per_request, pairs_per_second, seconds = 5, 4 / 0.2 / 2, 4.0 * scale
    interval = pairs_per_request / (10 * pairs_per_second)

    async def ask_once() -> None:
        batch, begun = questions.batch(pairs_per_request), time.monotonic()
        answer = await service.ask(batch, deadline_seconds=3.0)
        tally.add(batch, answer)
        if answer.status_code == 429:
            refused.append(time.monotonic() - begun)

    async with running(f"{serve(judge.app)}/v1") as service:
        await ask_once()  # so that it is known how long a call takes
        begun, asking = time.monotonic(), []
        while (now := time.monotonic()) < begun + seconds:
            asking.append(asyncio.create_task(ask_once()))
            await asyncio.sleep(max(0.0, begun + len(asking) * interval - now))
        await asyncio.gather(*asking)
        ended = time.monotonic()
        goodput = tally.num_scored / pairs_per_second / (ended - begun)
        batch = questions.batch(1)
        after = tally.add(batch, await service.ask(batch))
        recovery = time.monotonic() - ended
    measured["groups"] = dict(tally.statuses)
    measured["requests refused"] = dict(tally.refusals)
    measured["goodput"] = f"{100 * goodput:.0f} % of capacity"
    measured["refusals took"] = percentiles(refused)
    measured["seconds to recover"] = round(recovery, 2)
    assert tally.num_scored > 0
    assert after is not None
    assert after.results[0].status == "scored"
    assert recovery < 5.0
    assert tally.refusals.keys() == {429}
    assert tally.refusals[429] > len(asking) / 2
    assert tally.failures.keys() <= {"judge-timeout"}
    assert tally.violations == []


async def test_one_noisy_run_takes_nothing_from_the_others(serve, running, scale, measured) -> None:
    judge, tally = FlawedJudge(), Tally()
    num_quiet, num_noisy = 20 * scale, 200 * scale
    quiet = [f"quiet-{number}" for number in range(4)]
    is_open = False

    async def when_open(_request: Request, judgement: Judgement) -> Response:
        while not is_open:  # noqa: ASYNC110 - it opens on another thread
            await asyncio.sleep(0.005)
        return await judgement()

    async def ask_as(run: str, num_groups: int) -> None:
        batch = Questions(11, name=run).batch(num_groups)
        tally.add(batch, await service.ask(batch, run={"id": run}))

    async with running(f"{serve(judge.app)}/v1", max_judge_window=8) as service:
        judge.questions.clear()  # of those by which it was found
        judge.flaw = when_open
        noisy = asyncio.create_task(ask_as("noisy", num_noisy))
        await service.until_metric("arr_judge_queued_calls", 2 * num_noisy - 8)
        asking = [asyncio.create_task(ask_as(run, num_quiet)) for run in quiet]
        await service.until_metric("arr_judge_queued_calls", 2 * (num_noisy + len(quiet) * num_quiet) - 8)
        is_open = True
        await asyncio.gather(*asking)
        noisy.cancel()
        await asyncio.gather(noisy, return_exceptions=True)
    served = [run_of(body) for body in judge.questions]  # in the order in which they were asked first
    begun = max(served.index(run) for run in quiet)
    ended = min(len(served) - served[::-1].index(run) for run in quiet)
    calls = Counter(served[begun:ended])  # while all of them had something waiting
    shares = [calls[run] / (calls.total() / (1 + len(quiet))) for run in quiet]
    measured["groups"] = dict(tally.statuses)
    measured["calls by run"] = dict(calls)
    measured["smallest share of a quiet run"] = f"{100 * min(shares):.0f} % of a fair one"
    assert calls.total() >= 100
    assert min(shares) >= 0.9
    assert tally.statuses == {"scored": tally.num_groups}
    assert tally.violations == []


def run_of(question: bytes) -> str:
    """The run that asked: its name begins the prompt."""
    match = re.search(rb"(noisy|quiet-\d), no\. ", question)
    assert match is not None
    return match[1].decode()
