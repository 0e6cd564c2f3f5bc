"""Which failure is which, on real sockets, and what of the server's words is passed on."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from services.judging.backend import OpenAIBackend
from services.judging.connection import JudgeConnection
from services.judging.failures import BackendError, parameter_blamed
from shared_schemas.problems import FailureType

SOON = timedelta(seconds=20)

Connection = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def failure_of(backend: OpenAIBackend) -> BackendError:
    try:
        with pytest.raises(BackendError) as caught:
            await backend.probe(within=SOON)
    finally:
        await backend.aclose()
    return caught.value


async def failure_behind(answer: Connection, *, scheme: str) -> BackendError:
    """What becomes of asking a server that treats its connections like this, and hangs up at the end of it."""
    connections: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.create_task(serve(reader, writer)))

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        failure = await failure_of(OpenAIBackend.over_url(f"{scheme}://127.0.0.1:{port}", model="any"))
        await asyncio.gather(*connections)
    return failure


async def failure_for(response: Response) -> BackendError:
    async def answer(_: Request) -> Response:
        return response

    app = Starlette(routes=[Route("/v1/models", answer)])
    return await failure_of(
        OpenAIBackend(
            JudgeConnection(url="http://judge", api_key=None, transport=httpx2.ASGITransport(app=app)), model=None
        )
    )


async def test_a_port_that_nobody_listens_on_is_said_to_be_one(free_port: Callable[[], int]) -> None:
    failure = await failure_of(OpenAIBackend.over_url(f"http://127.0.0.1:{free_port()}", model="any"))
    assert failure.type is FailureType.JUDGE_UNAVAILABLE
    assert failure.detail == "the judge cannot be reached: nobody listens there"
    assert failure.is_passing


async def test_a_server_that_closes_the_connection_broke_it_off() -> None:
    async def close(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readline()

    failure = await failure_behind(close, scheme="http")
    assert failure.type is FailureType.JUDGE_UNAVAILABLE
    assert "broke the connection off" in failure.detail


async def test_https_to_a_server_without_tls_says_so() -> None:
    async def answer_in_plain_text(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    failure = await failure_behind(answer_in_plain_text, scheme="https")
    assert failure.type is FailureType.JUDGE_UNAVAILABLE
    assert "does not speak TLS" in failure.detail


async def test_a_server_that_hangs_up_after_an_internal_error_is_still_heard_out() -> None:
    """As uvicorn does: it answers 500, leaves the connection open, and closes it when the next request arrives."""

    async def fail_and_hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        await reader.readexactly(int(length[1]) if length else 0)
        writer.write(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
        await reader.read(1)

    failure = await failure_behind(fail_and_hang_up, scheme="http")
    assert failure.type is FailureType.JUDGE_UNAVAILABLE
    assert failure.detail == "the judge failed (HTTP 500), whichever way 'any' is asked"


async def test_a_redirect_is_not_followed_but_named() -> None:
    failure = await failure_for(RedirectResponse("https://elsewhere.example/v1/models", status_code=308))
    assert failure.type is FailureType.JUDGE_REFUSED
    assert failure.detail == "the judge's URL leads elsewhere (HTTP 308); use its final URL"


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        ({"message": "canary", "param": "input_tokens", "code": 400}, "HTTP 403: input_tokens"),
        ({"message": "canary", "param": None, "code": "model_not_found"}, "HTTP 403: model_not_found"),
        ({"message": "canary", "param": "sk-canary", "code": "Canary said: no"}, "HTTP 403)"),
        ({"message": "canary", "param": ["canary"], "code": None}, "HTTP 403)"),
        (
            {"message": "At most 3 image(s) may be provided in one prompt. Canary", "param": "image"},
            "HTTP 403: too many images in one question; it takes 3 at most)",
        ),
        ({"message": "Too many images in request. Canary is 500."}, "HTTP 403: too many images in one question)"),
    ],
)
async def test_only_names_of_parameters_codes_and_limits_are_passed_on(error: dict[str, object], detail: str) -> None:
    failure = await failure_for(JSONResponse({"error": error}, 403))
    assert detail in failure.detail
    assert "canary" not in failure.detail.lower()


@pytest.mark.parametrize(
    ("error", "blamed"),
    [
        ({"error": {"message": "canary", "param": "top_logprobs"}}, "top_logprobs"),
        (
            {"error": {"message": "No 'max_tokens'. Use 'max_completion_tokens'.", "param": None}},
            "max_tokens",
        ),
        ({"error": {"message": "no logprobs here", "param": "model"}}, "logprobs"),
        ({"error": {"message": "neither logprobs nor max_tokens"}}, None),
        ({"error": {"message": "At most 1 image", "param": "image"}}, None),
        ({"detail": "temperature is fixed"}, "temperature"),
        (
            {"detail": [{"loc": ["body", "top_logprobs"], "msg": "at most 5", "input": "max_tokens"}]},
            "top_logprobs",
        ),
        ({"detail": ["no"]}, None),
        (["max_tokens"], None),
        ("max_tokens", None),
    ],
)
async def test_the_one_parameter_that_a_server_blames_is_found(error: object, blamed: str | None) -> None:
    failure = await failure_for(JSONResponse(error, 403))
    assert parameter_blamed(failure, ["max_tokens", "temperature", "logprobs", "top_logprobs"]) == blamed


async def test_a_server_that_cannot_be_reached_blames_nothing(free_port: Callable[[], int]) -> None:
    failure = await failure_of(OpenAIBackend.over_url(f"http://127.0.0.1:{free_port()}", model="any"))
    assert parameter_blamed(failure, ["max_tokens"]) is None


@pytest.mark.parametrize(("status", "is_passing"), [(401, False), (429, True), (500, False), (501, False), (503, True)])
async def test_only_a_server_that_is_away_or_busy_is_passing(status: int, is_passing: bool) -> None:
    failure = await failure_for(JSONResponse({}, status))
    assert failure.type.is_retryable
    assert failure.is_passing is is_passing
    assert failure.status == status
