"""How much is worked on at once, who waits, and that whoever leaves makes room."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

import httpx2
import pytest

from services.judging.images import JudgeImage
from services.judging.pixel_judge import Overflow, PixelJudgeSettings, create_pixel_judge_app
from services.judging.pixel_judge.capacity import NoPlaceError, Places

Body: TypeAlias = Callable[..., dict[str, Any]]
RUNNING, WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"


class Visitor:
    """A task that holds a place until it is told to go."""

    def __init__(self, places: Places) -> None:
        self.entered = asyncio.Event()
        self.go = asyncio.Event()
        self.task = asyncio.create_task(self._visit(places))

    async def _visit(self, places: Places) -> None:
        async with places.place():
            self.entered.set()
            await self.go.wait()


async def settle() -> None:
    """Let every task run as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_places_are_given_in_the_order_of_arrival() -> None:
    places = Places(capacity=2, overflow=Overflow.QUEUE)
    visitors = [Visitor(places) for _ in range(4)]
    await settle()
    assert [visitor.entered.is_set() for visitor in visitors] == [True, True, False, False]
    assert (places.num_running, places.num_waiting) == (2, 2)
    visitors[1].go.set()
    await settle()
    assert [visitor.entered.is_set() for visitor in visitors] == [True, True, True, False]
    for visitor in visitors:
        visitor.go.set()
        await visitor.task
    assert (places.num_running, places.num_waiting) == (0, 0)


async def test_who_is_cancelled_inside_or_in_line_makes_room() -> None:
    places = Places(capacity=1, overflow=Overflow.QUEUE)
    inside, impatient, patient = [Visitor(places) for _ in range(3)]
    await settle()
    impatient.task.cancel()
    await settle()
    assert (places.num_running, places.num_waiting) == (1, 1)
    inside.task.cancel()
    await asyncio.wait_for(patient.entered.wait(), timeout=5)
    assert (places.num_running, places.num_waiting) == (1, 0)
    patient.task.cancel()
    await settle()
    assert places.num_running == 0


async def test_without_a_line_what_does_not_fit_is_refused() -> None:
    places = Places(capacity=1, overflow=Overflow.REFUSE)
    inside = Visitor(places)
    await settle()
    with pytest.raises(NoPlaceError):
        async with places.place():
            pytest.fail("there was no place")
    inside.go.set()
    await inside.task
    async with places.place():
        assert places.num_running == 1


async def test_without_a_capacity_nobody_waits() -> None:
    places = Places(capacity=0, overflow=Overflow.REFUSE)
    visitors = [Visitor(places) for _ in range(50)]
    await settle()
    assert (places.num_running, places.num_waiting) == (50, 0)
    for visitor in visitors:
        visitor.task.cancel()


async def gauges(client: httpx2.AsyncClient) -> dict[str, float]:
    """Name with labels → value, of every line that is no comment."""
    text = (await client.get("/metrics")).text
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


async def until(client: httpx2.AsyncClient, *, running: int, waiting: int) -> None:
    """Return once the server says so."""
    labels = '{engine="0",model_name="pixel-judge"}'
    async with asyncio.timeout(10):
        while True:
            found = await gauges(client)
            if (found[f"{RUNNING}{labels}"], found[f"{WAITING}{labels}"]) == (running, waiting):
                return
            await settle()


async def test_a_client_that_hangs_up_frees_its_place_over_a_real_socket(
    serve: Callable[..., str], body: Body, red_circle: JudgeImage, blue_square: JudgeImage
) -> None:
    url = serve(create_pixel_judge_app(PixelJudgeSettings(stall_rate=1.0, capacity=2)))
    async with httpx2.AsyncClient(base_url=url, timeout=60) as client:
        request = body(red_circle, blue_square)
        calls = [asyncio.create_task(client.post("/v1/chat/completions", json=request)) for _ in range(3)]
        await until(client, running=2, waiting=1)
        [first, *others] = calls
        first.cancel()
        await asyncio.wait([first])
        await until(client, running=2, waiting=0)
        for call in others:
            call.cancel()
        await asyncio.wait(others)
        await until(client, running=0, waiting=0)


async def test_in_process_a_stalled_request_ends_with_its_caller(
    clients: Any, body: Body, red_circle: JudgeImage, blue_square: JudgeImage
) -> None:
    client = clients(stall_rate=1.0, capacity=1)
    call = asyncio.create_task(client.post("/v1/chat/completions", json=body(red_circle, blue_square)))
    await until(client, running=1, waiting=0)
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    await until(client, running=0, waiting=0)


async def test_beyond_its_capacity_a_server_without_a_line_says_429_and_when_to_come_back(
    serve: Callable[..., str], body: Body, red_circle: JudgeImage, blue_square: JudgeImage
) -> None:
    settings = PixelJudgeSettings(stall_rate=1.0, capacity=1, overflow=Overflow.REFUSE)
    url = serve(create_pixel_judge_app(settings))
    async with httpx2.AsyncClient(base_url=url, timeout=60) as client:
        call = asyncio.create_task(client.post("/v1/chat/completions", json=body(red_circle, blue_square)))
        await until(client, running=1, waiting=0)
        refused = await client.post("/v1/chat/completions", json=body(red_circle, blue_square))
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        call.cancel()
        await asyncio.wait([call])


async def test_metrics_are_prometheus_text_with_a_gauge_that_only_looks_like_the_queue(clients: Any) -> None:
    response = await clients(model="other").get("/metrics")
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    labels = 'engine="0",model_name="other"'
    assert await gauges(clients(model="other")) == {
        f"{RUNNING}{{{labels}}}": 0,
        f"{WAITING}{{{labels}}}": 0,
        f'{WAITING}_by_reason{{{labels},reason="capacity"}}': 0,
        f'{WAITING}_by_reason{{{labels},reason="deferred"}}': 0,
    }
    assert f"# TYPE {WAITING} gauge" in response.text


async def test_health_is_an_empty_200_and_takes_no_place(clients: Any) -> None:
    response = await clients(capacity=1, stall_rate=1.0).get("/health")
    assert (response.status_code, response.content) == (200, b"")
