"""Bodies that are too large, too many or too slow, over a real connection."""

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from services.reward_api.app import create_app
from services.reward_api.settings import Settings
from shared_schemas.problems import PROBLEM_MEDIA_TYPE, Problem
from tests.reliability.flawed_judge import FlawedJudge
from tests.reliability.measures import percentiles
from tests.reliability.questions import Questions, Tally

MULTIPART = "multipart/form-data; boundary=x"
JSON = "application/json"
PART = b'--x\r\nContent-Disposition: form-data; name="%d"\r\n\r\n\r\n'


async def endless(head: bytes) -> AsyncIterator[bytes]:
    yield head
    while True:
        yield b"x" * 65536


async def parts(num_parts: int) -> AsyncIterator[bytes]:
    for first in range(0, num_parts, 1000):
        yield b"".join(PART % number for number in range(first, first + 1000))


async def refused(url: httpx.URL, token: str, body: AsyncIterator[bytes], *headers: str) -> tuple[int, str]:
    """Send until there is an answer, and tell its status and the slug of its problem."""
    reader, writer = await asyncio.open_connection(url.host, url.port)
    lines = [f"POST {url.path} HTTP/1.1", f"Host: {url.host}", f"Authorization: {token}", *headers, "", ""]
    writer.write("\r\n".join(lines).encode())

    async def send() -> None:
        async for chunk in body:
            writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    sending = asyncio.create_task(send())
    try:
        async with asyncio.timeout(40.0):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            content = await reader.readexactly(int(head.partition("content-length: ")[2].partition("\r\n")[0]))
        assert PROBLEM_MEDIA_TYPE in head
        return int(head.split(" ", 2)[1]), Problem.model_validate_json(content).slug
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        writer.close()


async def test_bodies_beyond_the_limits_are_refused_while_others_are_served(serve, running, scale, measured) -> None:
    tally, questions = Tally(), Questions(12)
    seconds: dict[str, list[float]] = {"alone": [], "beside them": []}
    chunked = "Transfer-Encoding: chunked"
    announced = f"Content-Length: {1 << 40}"

    async def ask(service, when: str) -> None:
        batch, begun = questions.batch(2), time.monotonic()
        tally.add(batch, await service.ask(batch))
        seconds[when].append(time.monotonic() - begun)

    async with running(f"{serve(FlawedJudge().app)}/v1", max_body_mb=8) as service:
        url = service.tenants[0].base_url.copy_with(path="/reward")
        token = service.tenants[0].headers["Authorization"]
        for _ in range(10 * scale):
            await ask(service, "alone")
        for _ in range(scale):
            for body, headers, expected in (
                (endless(PART % 1), (f"Content-Type: {MULTIPART}", announced), (413, "body-too-large")),
                (endless(PART % 1), (f"Content-Type: {MULTIPART}", chunked), (413, "body-too-large")),
                (endless(b'{"a": "'), (f"Content-Type: {JSON}", chunked), (413, "body-too-large")),
                (parts(100_000), (f"Content-Type: {MULTIPART}", chunked), (422, "invalid-request")),
            ):
                refusing = asyncio.create_task(refused(url, token, body, *headers))
                await ask(service, "beside them")
                assert await refusing == expected
    measured.update({f"latency of others, {when}": percentiles(each) for when, each in seconds.items()})
    assert tally.statuses == {"scored": tally.num_groups}
    assert tally.violations == []


async def dripping(seconds_between: float, drop: bytes) -> AsyncIterator[bytes]:
    yield PART % 1
    while True:
        await asyncio.sleep(seconds_between)
        yield drop


async def stopping_after(num_chunks: int) -> AsyncIterator[bytes]:
    yield PART % 1
    for _ in range(num_chunks):
        yield b"x" * 65536
    await asyncio.Event().wait()


@pytest.mark.parametrize("path", ["/reward", "/datasets"])
async def test_a_body_that_crawls_or_stops_is_cut_and_one_that_walks_is_read(
    path: str, serve, tmp_path, measured
) -> None:
    service = create_app(
        Settings(data_dir=tmp_path, canary_seconds=0.0, body_seconds=0.5, max_body_mb=2, max_dataset_mb=2)
    )
    url = httpx.URL(serve(service)).copy_with(path=path)
    headers = (f"Content-Type: {MULTIPART}", "Transfer-Encoding: chunked")
    begun = time.monotonic()
    crawling = asyncio.gather(*(refused(url, "", dripping(0.05, b"x"), *headers) for _ in range(10)))
    stopping = asyncio.gather(*(refused(url, "", stopping_after(20), *headers) for _ in range(10)))
    walking = refused(url, "", dripping(0.1, b"x" * 200_000), *headers)
    assert await crawling == [(408, "body-too-slow")] * 10
    measured["seconds until ten that crawl were cut, of 0.5"] = round(time.monotonic() - begun, 2)
    assert await stopping == [(408, "body-too-slow")] * 10
    measured["seconds until ten that stopped were cut, of 0.5"] = round(time.monotonic() - begun, 2)
    assert await walking == (413, "body-too-large")  # a second later: it was read to the limit
