"""The model that writes, beside or behind the judge."""

import asyncio
import json
from datetime import timedelta

import pytest
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.judging.callers import Caller
from services.judging.chat import Written
from services.judging.chat_messages import ChatMessage, Role
from services.reward_api.access import Access
from services.reward_api.composition import open_services
from services.reward_api.metrics import Metrics
from services.reward_api.settings import Settings
from services.reward_api.state import Services
from shared_schemas.health import Readiness

SOON = timedelta(seconds=20)


class Answer(BaseModel):
    """What the writer writes."""

    answer: str


class Writer:
    """A server that writes `{"answer": "1"}`, for those who bring its key."""

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self.num_calls = 0

    def app(self) -> Starlette:
        """Its routes."""
        routes = [Route("/v1/models", self._models), Route("/v1/chat/completions", self._chat, methods=["POST"])]
        return Starlette(routes=routes)

    async def _models(self, _request: Request) -> Response:
        return JSONResponse({"data": [{"id": "writer"}]})

    async def _chat(self, request: Request) -> Response:
        self.num_calls += 1
        if request.headers["Authorization"] != "Bearer hunter2":
            return JSONResponse({}, 401)
        message = {"role": "assistant", "content": json.dumps({"answer": "1"})}
        return JSONResponse({"choices": [{"message": message, "finish_reason": "stop"}]})


@pytest.fixture
def services_of(judge, tmp_path):
    """`services_of(**settings)`: open services in front of the scripted judge."""

    def open_with(**overrides: object):
        given = {"data_dir": tmp_path, "judge_urls": (judge.url,), "canary_seconds": 0} | overrides
        settings = Settings.model_validate(given)
        return open_services(settings, Metrics(), Access.from_file(None))

    return open_with


async def write(services: Services) -> object:
    chat = services.chat.get()
    assert chat is not None
    messages = [ChatMessage(role=Role.USER, parts=("Which one?",))]
    return await chat.write(messages, schema=Answer, seed=0, deadline=SOON, caller=Caller())


async def test_without_a_server_of_its_own_the_judge_writes(services_of) -> None:
    async with services_of() as services:
        chat = services.chat.get()
        assert chat is not None
        assert (chat.identity.model, services.chat.problem()) == ("brightness", None)
        assert not services.chat.has_own_server


async def test_with_a_server_of_its_own_that_writes_and_remembers(services_of, serve) -> None:
    writer = Writer()
    settings = {"chat_url": serve(writer.app()), "chat_api_key": "hunter2"}
    for is_first in (True, False):
        async with services_of(**settings) as services:
            await reached(services)
            num_calls = writer.num_calls
            answer = await write(services)
            assert isinstance(answer, Written)
            assert (answer.value.answer, answer.cached) == ("1", not is_first)
            assert writer.num_calls == num_calls + is_first


async def test_one_that_is_away_holds_nothing_up_and_is_found_later(services_of, serve, free_port) -> None:
    port = free_port()
    settings = {"chat_url": f"http://127.0.0.1:{port}", "chat_api_key": "hunter2"}
    async with asyncio.timeout(20), services_of(**settings) as services:
        assert services.chat.get() is None
        while services.chat.problem() == "has not answered yet":  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)
        assert services.chat.problem() == "the model that writes cannot be reached: nobody listens there"
        serve(Writer().app(), port=port)
        await reached(services)
        assert isinstance(await write(services), Written)


async def test_one_that_keeps_us_out_says_so_without_the_key(services_of, serve, caplog) -> None:
    settings = {"chat_url": serve(Writer().app()), "chat_api_key": "hunter3"}
    async with asyncio.timeout(20), services_of(**settings) as services:
        while services.chat.problem() == "has not answered yet":  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)
        assert services.chat.problem() == "the model that writes refused our credentials (HTTP 401)"
    assert "hunter3" not in caplog.text


async def test_a_service_whose_model_that_writes_is_away_is_degraded_and_ready(running) -> None:
    async with running(chat_url="http://127.0.0.1:9/v1") as service:
        answer = await service.get("/readyz")
    readiness = Readiness.model_validate_json(answer.content)
    assert (answer.status_code, readiness.status) == (200, "degraded")
    assert readiness.parts["judge"] == "ok"
    assert readiness.parts["chat"] != "ok"


async def reached(services: Services) -> None:
    async with asyncio.timeout(20):
        while services.chat.get() is None:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)
