import json
import logging
import socket
import time
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from reward_client import (
    AsyncRewardClient,
    ProtocolError,
    RequestRejected,
    RetryPolicy,
    RewardClient,
    ServiceUnavailable,
)
from reward_client.retries import retry_after

FAST = RetryPolicy(attempts=4, wait_initial=timedelta(milliseconds=1), wait_max=timedelta(milliseconds=2))
OK: tuple[int, dict[str, str]] = (200, {})


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_service_that_cannot_answer_now_is_asked_again(scripted, status) -> None:
    service = scripted((status, {}), (status, {}), OK)
    async with AsyncRewardClient("http://s", retries=FAST, transport=httpx.ASGITransport(service)) as client:
        assert (await client.resolve_rubric("x")).version == 1
    assert len(service.times) == 3


def test_the_blocking_client_asks_again_too(scripted, serve) -> None:
    service = scripted((503, {}), OK)
    with RewardClient(serve(service), retries=FAST) as client:
        assert client.resolve_rubric("x").version == 1
    assert len(service.times) == 2


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_waited_for(scripted, status) -> None:
    service = scripted((status, {"Retry-After": "1"}), OK)
    async with AsyncRewardClient("http://s", retries=FAST, transport=httpx.ASGITransport(service)) as client:
        await client.resolve_rubric("x")
    first, second = service.times
    assert 1.0 <= second - first < 1.5


async def test_a_retry_after_beyond_the_deadline_is_not_waited_for(scripted) -> None:
    service = scripted((503, {"Retry-After": "60"}))
    start = time.monotonic()
    hasty = RetryPolicy(deadline=timedelta(seconds=1))
    async with AsyncRewardClient("http://s", retries=hasty, transport=httpx.ASGITransport(service)) as client:
        with pytest.raises(ServiceUnavailable, match="503"):
            await client.resolve_rubric("x")
    assert time.monotonic() - start < 1
    assert len(service.times) == 1


async def test_attempts_are_bounded(scripted) -> None:
    service = scripted((503, {}))
    async with AsyncRewardClient("http://s", retries=FAST, transport=httpx.ASGITransport(service)) as client:
        with pytest.raises(ServiceUnavailable):
            await client.resolve_rubric("x")
    assert len(service.times) == 4


async def test_the_deadline_ends_what_the_attempts_would_not(scripted) -> None:
    service = scripted((503, {}))
    endless = RetryPolicy(
        attempts=1_000_000,
        deadline=timedelta(milliseconds=200),
        wait_initial=timedelta(milliseconds=10),
        wait_max=timedelta(milliseconds=20),
    )
    start = time.monotonic()
    async with AsyncRewardClient("http://s", retries=endless, transport=httpx.ASGITransport(service)) as client:
        with pytest.raises(ServiceUnavailable):
            await client.resolve_rubric("x")
    assert 0.1 < time.monotonic() - start < 2
    assert len(service.times) > 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
async def test_a_refusal_is_final(scripted, status) -> None:
    service = scripted((status, {}))
    async with AsyncRewardClient("http://s", retries=FAST, transport=httpx.ASGITransport(service)) as client:
        with pytest.raises(RequestRejected) as caught:
            await client.resolve_rubric("x")
    assert caught.value.problem.status == status
    assert len(service.times) == 1


async def test_what_is_logged_of_a_retry_does_not_repeat_the_request(scripted, caplog) -> None:
    service = scripted((503, {}), (200, {}))
    async with AsyncRewardClient("http://s", retries=FAST, transport=httpx.ASGITransport(service)) as client:
        await client.resolve_rubric("x")
    (record,) = caplog.records
    assert vars(record)["stamina.args"] == ()


async def test_a_bug_of_the_service_is_not_asked_for_twice(scripted) -> None:
    service = scripted((500, {}))
    async with AsyncRewardClient("http://s", retries=FAST, transport=httpx.ASGITransport(service)) as client:
        with pytest.raises(ServiceUnavailable, match="500"):
            await client.resolve_rubric("x")
    assert len(service.times) == 1


async def test_an_answer_from_something_else_is_a_protocol_error(scripted) -> None:
    service = scripted((204, {}))
    async with AsyncRewardClient("http://s", retries=FAST, transport=httpx.ASGITransport(service)) as client:
        with pytest.raises(ProtocolError, match="RubricSummary"):
            await client.resolve_rubric("x")


def test_a_service_that_is_not_there_is_unavailable(free_port) -> None:
    with (
        RewardClient(f"http://127.0.0.1:{free_port()}", retries=FAST) as client,
        pytest.raises(ServiceUnavailable, match="no answer"),
    ):
        client.resolve_rubric("x")


def test_a_service_that_stays_silent_is_given_up_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hasty = RetryPolicy(deadline=timedelta(milliseconds=200))
        start = time.monotonic()
        with (
            RewardClient(f"http://127.0.0.1:{silent.getsockname()[1]}", retries=hasty) as client,
            pytest.raises(ServiceUnavailable),
        ):
            client.resolve_rubric("x")
    assert 0.2 <= time.monotonic() - start < 2


def test_retry_after_is_read_in_both_its_forms() -> None:
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert retry_after({"Retry-After": "7"}) == timedelta(seconds=7)
    wait = retry_after({"Retry-After": in_a_minute})
    assert wait is not None
    assert timedelta(seconds=55) < wait <= timedelta(seconds=60)
    assert retry_after({"Retry-After": "soon"}) is None
    assert retry_after({}) is None


def test_a_client_that_was_closed_meanwhile_does_not_ask_again() -> None:
    asked: list[httpx.Request] = []

    def close_then_answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        client.close()
        return httpx.Response(503)

    client = RewardClient("http://s", retries=FAST, transport=httpx.MockTransport(close_then_answer))
    with pytest.raises(ServiceUnavailable):
        client.resolve_rubric("x")
    assert len(asked) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed_so_that_no_key_travels_on(status) -> None:
    elsewhere: list[str] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "elsewhere":
            elsewhere.append(str(request.headers))
        return httpx.Response(status, headers={"Location": "http://elsewhere/rubrics/x"})

    async with AsyncRewardClient("http://s", api_key="s3cret", transport=httpx.MockTransport(answer)) as client:
        with pytest.raises(ProtocolError, match=str(status)):
            await client.resolve_rubric("x")
    assert elsewhere == []


async def test_no_error_and_no_log_line_shows_the_key(scripted, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    service = scripted((429, {}), (401, {}))
    transport = httpx.ASGITransport(service)
    async with AsyncRewardClient("http://s", api_key="s3cret", retries=FAST, transport=transport) as client:
        with pytest.raises(RequestRejected) as caught:
            await client.resolve_rubric("x")
    said = [repr(caught.value), str(caught.value.problem)]
    said += [json.dumps(vars(record), default=str) for record in caplog.records]
    assert len(said) > 2
    assert "s3cret" not in " ".join(said)


def test_a_service_that_is_away_is_told_without_the_key(free_port) -> None:
    with (
        RewardClient(f"http://127.0.0.1:{free_port()}", api_key="s3cret", retries=FAST) as client,
        pytest.raises(ServiceUnavailable) as caught,
    ):
        client.resolve_rubric("x")
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
