import asyncio
import base64
import io
import json
import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image, ImageStat
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from services.reward_api.app import create_app
from services.reward_api.settings import Settings


@dataclass
class ScriptedJudge:
    """An OpenAI-compatible judge that prefers the brighter image, by 4 nats from black to white.

    It favours whatever is shown first by half a nat. A prompt with BROKEN gets a 500, one with HOLD no answer at all.
    """

    url: str = ""
    num_calls: int = 0
    num_held: int = 0
    num_abandoned: int = 0

    def app(self) -> Starlette:
        routes = [
            Route("/v1/models", self._models),
            Route("/v1/chat/completions", self._complete, methods=["POST"]),
        ]
        return Starlette(routes=routes)

    async def _models(self, _request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": "brightness", "object": "model"}]})

    async def _complete(self, request: Request) -> Response:
        self.num_calls += 1
        parts = (await request.json())["messages"][-1]["content"]
        text = " ".join(part["text"] for part in parts if part["type"] == "text")
        if "BROKEN" in text:
            return JSONResponse({"error": {"message": "scripted"}}, status_code=500)
        if "HOLD" in text:
            self.num_held += 1
            while (await request.receive())["type"] != "http.disconnect":
                pass
            self.num_abandoned += 1
        first, second = [brightness(part) for part in parts if part["type"] == "image_url"][-2:]
        return JSONResponse(completion(4.0 * (first - second) + 0.5))


def brightness(part: dict[str, Any]) -> float:
    data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
    return ImageStat.Stat(Image.open(io.BytesIO(data)).convert("L")).mean[0] / 255


def completion(log_odds: float) -> dict[str, Any]:
    labels = {"1": -math.log1p(math.exp(-log_odds)), "2": -math.log1p(math.exp(log_odds))}
    chosen = max(labels, key=lambda label: labels[label])
    top = [{"token": token, "logprob": value, "bytes": None} for token, value in labels.items()]
    position = {"token": chosen, "logprob": labels[chosen], "bytes": None, "top_logprobs": top}
    message = {"role": "assistant", "content": chosen}
    choice = {"index": 0, "message": message, "finish_reason": "length", "logprobs": {"content": [position]}}
    usage = {"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "brightness", "choices": [choice]} | {
        "usage": usage
    }


@pytest.fixture(scope="session")
def judge_house(serving: Callable[..., AbstractContextManager[str]]) -> Iterator[tuple[Starlette, str]]:
    """One server for the scripted judges of all tests, each under a path of its own."""
    house = Starlette()
    with serving(house) as url:
        yield house, url


@pytest.fixture
def judge(judge_house: tuple[Starlette, str]) -> ScriptedJudge:
    house, url = judge_house
    path = f"/judge-{len(house.routes)}"
    scripted = ScriptedJudge(url=f"{url}{path}/v1")
    house.router.routes.append(Mount(path, scripted.app()))
    return scripted


Running = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def running(tmp_path: Path, judge: ScriptedJudge) -> Running:
    """Run the service in process, on the test's data dir and scripted judge unless settings say otherwise."""

    @asynccontextmanager
    async def run(**settings: Any) -> AsyncIterator[httpx.AsyncClient]:
        values: dict[str, Any] = {"data_dir": tmp_path, "judge_urls": (judge.url,)} | settings
        app = create_app(Settings(**values))
        async with app.router.lifespan_context(app) as state:

            async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
                await app({**scope, "state": dict(state or {})}, receive, send)

            transport = httpx.ASGITransport(with_state)
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                yield client

    return run


@pytest.fixture
async def service(running: Running) -> AsyncIterator[httpx.AsyncClient]:
    """The service with one published rubric set: `t2i`."""
    async with running() as client:
        await client.post("/rubrics/t2i/versions", json={"content": {"task": "t2i"}})
        yield client


@pytest.fixture
def png() -> Callable[..., bytes]:
    """A plain grey PNG of brightness 0 to 1."""

    def make(level: float = 0.5, *, size: tuple[int, int] = (16, 16)) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", size, (round(255 * level),) * 3).save(buffer, format="PNG")
        return buffer.getvalue()

    return make


@pytest.fixture
def ask() -> Callable[..., Any]:
    """Post a reward request: groups as dicts, images as name → bytes; other keywords go into `meta`."""

    async def post(
        client: httpx.AsyncClient, groups: list[dict[str, Any]], images: dict[str, bytes], **meta: Any
    ) -> httpx.Response:
        body = json.dumps({"rubric": "t2i", "groups": groups, **meta})
        files = [("meta", ("meta.json", body, "application/json"))]
        files += [(name, (f"{name}.png", data, "image/png")) for name, data in images.items()]  # type: ignore[misc]
        return await client.post("/reward", files=files)

    return post


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Wait until a condition holds, fail after ten seconds."""

    async def wait(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - the condition may change on another thread
                await asyncio.sleep(0.005)

    return wait
