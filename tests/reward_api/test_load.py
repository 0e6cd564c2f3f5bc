"""Refusing for load: what is estimated, what is told."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from services.judging.callers import Caller
from services.reward_api.load import OnTheWay, preferred_wait


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("wait=10", 10),
        ("respond-async, wait=7", 7),
        ("wait=3;foo", 3),
        ("foo=bar, wait=120, handling=lenient", 120),
        (None, None),
        ("", None),
        ("await=10", None),
        ("wait=soon", None),
        ("wait=-1", None),
        ("wait=99999999", None),
    ],
)
def test_the_preferred_wait_is_read_as_the_standard_writes_it(header: str | None, seconds: int | None) -> None:
    assert preferred_wait(header) == (None if seconds is None else timedelta(seconds=seconds))


def one_group(index: int, prompt: str) -> dict[str, Any]:
    return {"id": f"g{index}", "prompt": prompt, "candidates": ["a", "b"]}


async def test_what_cannot_be_done_in_time_is_refused_at_once_and_told_when_to_come_back(
    running, judge, png, ask, eventually
) -> None:
    images = {"a": png(0.2), "b": png(0.8)}
    async with running(max_judge_window=2) as client:
        await client.post("/rubrics/t2i/versions", json={"content": {"task": "t2i"}})
        await ask(client, [one_group(0, "so that it is known how long a call takes")], images)
        held = [asyncio.create_task(ask(client, [one_group(index, f"HOLD {index}") for index in range(200)], images))]
        await eventually(lambda: judge.num_held == 2)
        calls_before = judge.num_calls
        refused = await ask(client, [one_group(0, "too late")], images, deadline_seconds=0.001)
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) >= 1
        problem = refused.json()
        assert problem["type"] == "/problems/overloaded"
        assert "its deadline is 0.001 s" in problem["detail"]
        assert judge.num_calls == calls_before
        metrics = (await client.get("/metrics")).text
        assert 'arr_refusals_total{reason="deadline"} 1.0' in metrics
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)


async def test_a_full_queue_refuses_before_the_body_is_read(running, judge, png, ask, eventually) -> None:
    images = {"a": png(0.2), "b": png(0.8)}
    async with running(max_judge_window=2, max_queued_calls=10) as client:
        await client.post("/rubrics/t2i/versions", json={"content": {"task": "t2i"}})
        held = asyncio.create_task(ask(client, [one_group(index, f"HOLD {index}") for index in range(7)], images))
        await eventually(lambda: judge.num_held == 2)

        async def endless_body():
            yield b"--x\r\n"
            pytest.fail("the body was read on")

        refused = await client.post(
            "/reward", content=endless_body(), headers={"Content-Type": "multipart/form-data; boundary=x"}
        )
        assert refused.status_code == 429
        assert "waiting already" in refused.json()["detail"]
        held.cancel()
        await asyncio.gather(held, return_exceptions=True)


async def test_a_queue_of_nameless_requests_refuses_no_run_that_has_nothing_queued(
    running, judge, png, ask, eventually
) -> None:
    images = {"a": png(0.2), "b": png(0.8)}
    async with running(max_judge_window=2, deadline_seconds=3.0) as client:
        await client.post("/rubrics/t2i/versions", json={"content": {"task": "t2i"}})
        await ask(client, [one_group(0, "so that it is known how long a call takes")], images, deadline_seconds=60)
        groups = [one_group(index, f"HOLD {index}") for index in range(1000)]
        held = asyncio.create_task(ask(client, groups, images, deadline_seconds=60))
        await eventually(lambda: judge.num_held == 2)
        while "arr_judge_queued_calls 1998.0" not in (await client.get("/metrics")).text:  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # a large request is queued in portions
        nameless = await ask(client, [one_group(0, "mine")], images)
        named = await ask(client, [one_group(0, "mine")], images, run={"id": "other"})
        assert (nameless.status_code, named.status_code) == (429, 200)
        held.cancel()
        await asyncio.gather(held, return_exceptions=True)


async def test_an_idle_service_refuses_nobody_however_short_the_deadline(service, png, ask) -> None:
    answer = await ask(service, [one_group(0, "x")], {"a": png(0.2), "b": png(0.8)}, deadline_seconds=0.0001)
    assert answer.status_code == 200
    assert json.loads(answer.content)["results"][0]["error"]["type"] == "judge-timeout"


def test_calls_on_the_way_stand_in_the_estimate_until_they_are_queued() -> None:
    on_the_way, mine, yours = OnTheWay(), Caller(tenant="mine"), Caller(tenant="yours")
    with on_the_way.enter(yours) as ticket:
        ticket.stands_for(10, yours)
        assert on_the_way.ahead_of(yours, 4) == 10  # first come, first served within a run
        assert on_the_way.ahead_of(mine, 4) == 4  # fair shares between tenants
        ticket.is_queued()
        assert on_the_way.ahead_of(yours, 4) == 0
        ticket.stands_for(3, yours)
    assert on_the_way.ahead_of(yours, 4) == 0  # a request that ended, however it ended, holds nothing


def test_an_unread_request_counts_as_large_as_requests_usually_are() -> None:
    on_the_way, caller = OnTheWay(), Caller()
    for _ in range(100):
        on_the_way.learn(20)
    with on_the_way.enter(caller):
        assert on_the_way.ahead_of(caller, 1) == 20
