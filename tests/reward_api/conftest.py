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

    It favours whatever is shown first by half a nat. Asked about one image alone, it says yes to a bright one with a
    log-odds of 4 · (brightness − ½), and to a criterion about DARK with the opposite. A prompt with BROKEN gets a 500,
    and so do two coloured images together; one with HOLD gets no answer at all.
    """

    url: str = ""
    num_calls: int = 0
    num_held: int = 0
    num_abandoned: int = 0
    largest_image_pixels: int = 0
    most_images: int = 0

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
        images = [image_of(part) for part in parts if part["type"] == "image_url"]
        sizes = [image.width * image.height for image in images]
        self.largest_image_pixels = max(self.largest_image_pixels, *sizes)
        self.most_images = max(self.most_images, len(images))
        if "yes or no" in text:
            log_odds = 4.0 * (brightness(images[-1]) - 0.5)
            return JSONResponse(completion(-log_odds if "DARK" in text else log_odds, labels=("yes", "no")))
        first, second = images[-2:]
        if is_coloured(first) and is_coloured(second):
            return JSONResponse({"error": {"message": "scripted"}}, status_code=500)
        return JSONResponse(completion(4.0 * (brightness(first) - brightness(second)) + 0.5, labels=("1", "2")))


def image_of(part: dict[str, Any]) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(part["image_url"]["url"].partition(",")[2])))


def brightness(image: Image.Image) -> float:
    return ImageStat.Stat(image.convert("L")).mean[0] / 255


def is_coloured(image: Image.Image) -> bool:
    red, _, blue = image.convert("RGB").getpixel((0, 0))  # type: ignore[misc]
    return red != blue


def completion(log_odds: float, *, labels: tuple[str, str]) -> dict[str, Any]:
    log_probs = {labels[0]: -math.log1p(math.exp(-log_odds)), labels[1]: -math.log1p(math.exp(log_odds))}
    chosen = max(log_probs, key=lambda label: log_probs[label])
    top = [{"token": token, "logprob": value, "bytes": None} for token, value in log_probs.items()]
    position = {"token": chosen, "logprob": log_probs[chosen], "bytes": None, "top_logprobs": top}
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
        quiet = {"canary_seconds": 0.0}  # whose calls would be counted with the test's
        values: dict[str, Any] = {"data_dir": tmp_path, "judge_urls": (judge.url,)} | quiet | settings
        app = create_app(Settings(**values))
        async with app.router.lifespan_context(app) as state:

            async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
                await app({**scope, "state": dict(state or {})}, receive, send)

            transport = httpx.ASGITransport(with_state)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
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
    """A plain PNG, grey of brightness 0 to 1 unless a colour is given."""

    def make(
        level: float = 0.5, *, size: tuple[int, int] = (16, 16), colour: tuple[int, int, int] | None = None
    ) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", size, colour or (round(255 * level),) * 3).save(buffer, format="PNG")
        return buffer.getvalue()

    return make


@pytest.fixture
def ask() -> Callable[..., Any]:
    """Post a reward request: groups as dicts, images as name → bytes; other keywords go into `meta`."""

    async def post(
        client: httpx.AsyncClient,
        groups: list[dict[str, Any]],
        images: dict[str, bytes],
        *,
        accept: str = "*/*",
        **meta: Any,
    ) -> httpx.Response:
        body = json.dumps({"rubric": "t2i", "groups": groups, **meta})
        files = [("meta", ("meta.json", body, "application/json"))]
        files += [(name, (f"{name}.png", data, "image/png")) for name, data in images.items()]  # type: ignore[misc]
        return await client.post("/reward", files=files, headers={"Accept": accept})

    return post


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Wait until a condition holds, fail after ten seconds."""

    async def wait(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - the condition may change on another thread
                await asyncio.sleep(0.005)

    return wait
