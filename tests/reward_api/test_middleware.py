import asyncio
import logging
from collections.abc import Iterable
from datetime import timedelta

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from services.reward_api.errors import BodyTooLarge, BodyTooSlow
from services.reward_api.metrics import Metrics
from services.reward_api.middleware import BodyLimit, RequestContext
from shared_schemas.problems import PROBLEM_MEDIA_TYPE, Problem


async def test_a_request_id_is_echoed(service) -> None:
    answer = await service.get("/livez", headers={"X-Request-Id": "run-42/step.7"})
    assert answer.headers["X-Request-Id"] == "run-42/step.7"


@pytest.mark.parametrize("given", ["two words", "x" * 129, 'a"b', ""])
async def test_an_unfit_request_id_is_replaced(service, given) -> None:
    answer = await service.get("/livez", headers={"X-Request-Id": given})
    assert answer.headers["X-Request-Id"] != given
    assert len(answer.headers["X-Request-Id"]) == 32


async def test_every_request_gets_an_id_of_its_own(service) -> None:
    ids = {(await service.get("/livez")).headers["X-Request-Id"] for _ in range(3)}
    assert len(ids) == 3


async def test_a_bug_is_logged_with_its_traceback_and_not_shown(caplog) -> None:
    async def buggy(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise RuntimeError("hunter2 is the password")

    transport = httpx.ASGITransport(RequestContext(buggy, metrics=Metrics()))
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        answer = await client.get("/", headers={"X-Request-Id": "r1"})
    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == PROBLEM_MEDIA_TYPE
    problem = Problem.model_validate_json(answer.content)
    assert (problem.slug, problem.request_id) == ("internal-error", "r1")
    assert "hunter2" not in answer.text
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "hunter2 is the password"


async def test_requests_are_counted_by_route_template(service) -> None:
    for name in ("t2i", "other", "third"):
        await service.get(f"/rubrics/{name}")
    await service.get("/no/such/place")
    text = (await service.get("/metrics")).text
    assert 'arr_http_requests_total{method="GET",route="/rubrics/{name}",status="200"} 1.0' in text
    assert 'arr_http_requests_total{method="GET",route="/rubrics/{name}",status="404"} 2.0' in text
    assert 'arr_http_requests_total{method="GET",route="unmatched",status="404"} 1.0' in text
    assert 'arr_http_request_seconds_count{method="GET",route="/rubrics/{name}"} 3.0' in text


class Arrivals:
    """A body that comes in pieces, each so many seconds after it is waited for; reading one takes `reading` seconds."""

    def __init__(self, pieces: Iterable[tuple[float, int]], *, reading: float = 0.0) -> None:
        self._pieces = list(pieces)
        self._reading = reading
        self.now = 0.0
        self.num_bytes_read = 0

    async def read(self, *, patience: float, max_bytes: int = 10**12) -> None:
        """Read all of it behind a limit. Raises what the limit does."""
        pieces = iter(self._pieces)
        left = len(self._pieces)

        async def receive() -> Message:
            nonlocal left
            seconds, size = next(pieces)
            self.now += seconds
            left -= 1
            return {"type": "http.request", "body": b"x" * size, "more_body": left > 0}

        async def endpoint(_scope: Scope, receive: Receive, _send: Send) -> None:
            while (message := await receive())["more_body"]:
                self.num_bytes_read += len(message["body"])
                self.now += self._reading

        async def send(_message: Message) -> None:
            pytest.fail("nothing is answered here")

        limit = BodyLimit(endpoint, max_bytes=max_bytes, patience=timedelta(seconds=patience), clock=lambda: self.now)
        await limit({"type": "http", "path": "/", "headers": []}, receive, send)


async def test_a_body_of_any_size_may_come_at_a_hundred_kilobytes_a_second() -> None:
    arrivals = Arrivals([(1.0, 100_000)] * 600)
    await arrivals.read(patience=30.0)
    assert arrivals.now == 600.0


async def test_a_body_at_half_that_rate_is_cut_when_it_has_used_up_its_time_twice() -> None:
    arrivals = Arrivals([(1.0, 50_000)] * 600)
    with pytest.raises(BodyTooSlow):
        await arrivals.read(patience=30.0)
    assert arrivals.now == 60.0  # each second costs one and brings half of one


async def test_a_byte_now_and_then_does_not_keep_a_body_alive() -> None:
    arrivals = Arrivals([(1.0, 1)] * 600)
    with pytest.raises(BodyTooSlow, match="after 30 bytes the body stood still for 30 s, or crawled"):
        await arrivals.read(patience=30.0)
    assert arrivals.num_bytes_read == 30


@pytest.mark.parametrize(("pause", "is_cut"), [(29.5, False), (30.5, True)])
async def test_what_came_fast_earns_no_longer_pause_later(pause: float, is_cut: bool) -> None:
    arrivals = Arrivals([*[(0.001, 1_000_000)] * 100, (pause, 1), (0.0, 1)])
    try:
        await arrivals.read(patience=30.0)
    except BodyTooSlow:
        assert is_cut
    else:
        assert not is_cut


async def test_a_service_that_reads_slowly_does_not_blame_the_client() -> None:
    await Arrivals([(0.0, 10)] * 20, reading=60.0).read(patience=30.0)


async def test_a_body_that_stops_for_good_is_cut_on_time() -> None:
    async def endpoint(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(_message: Message) -> None:
        pytest.fail("nothing is answered here")

    limit = BodyLimit(endpoint, max_bytes=1, patience=timedelta(milliseconds=20))
    async with asyncio.timeout(10.0):
        with pytest.raises(BodyTooSlow, match="after 0 bytes"):
            await limit({"type": "http", "path": "/", "headers": []}, receive, send)


async def test_the_wait_for_a_client_to_leave_has_no_end() -> None:
    """A judgement may take minutes, with the whole body read and somebody watching the connection."""

    async def endpoint(_scope: Scope, receive: Receive, _send: Send) -> None:
        assert not (await receive())["more_body"]
        assert (await receive())["type"] == "http.disconnect"

    messages: list[tuple[float, Message]] = [
        (0.0, {"type": "http.request", "body": b"x", "more_body": False}),
        (3600.0, {"type": "http.disconnect"}),
    ]
    now = 0.0

    async def receive() -> Message:
        nonlocal now
        seconds, message = messages.pop(0)
        now += seconds
        return message

    async def send(_message: Message) -> None:
        pytest.fail("nothing is answered here")

    limit = BodyLimit(endpoint, max_bytes=1, patience=timedelta(seconds=30), clock=lambda: now)
    await limit({"type": "http", "path": "/", "headers": []}, receive, send)
    assert messages == []


async def test_what_is_too_large_is_refused_before_it_is_all_there() -> None:
    arrivals = Arrivals([(0.0, 600)] * 10)
    with pytest.raises(BodyTooLarge):
        await arrivals.read(patience=30.0, max_bytes=1000)
    assert arrivals.num_bytes_read == 600
