"""Requests written by hand, as any client would write them, and clients to send them with."""

import base64
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest

from services.judging.images import JudgeImage
from services.judging.pixel_judge import MODEL_ID, PixelJudgeSettings, create_pixel_judge_app
from services.judging.prompts import fence


@pytest.fixture
async def clients() -> AsyncIterator[Any]:
    """`clients(scale=…, …)`: an HTTP client of a pixel judge with these settings."""
    opened: list[httpx2.AsyncClient] = []

    def client(**settings: Any) -> httpx2.AsyncClient:
        app = create_pixel_judge_app(PixelJudgeSettings(**settings))
        opened.append(httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://pixel-judge"))
        return opened[-1]

    yield client
    for one in opened:
        await one.aclose()


@pytest.fixture(scope="session")
def body() -> Callable[..., dict[str, Any]]:
    """`body(first, second, prompt=…, rubric=…, …)`: a chat request that asks for the better of two images."""

    def write(
        *images: JudgeImage, prompt: str = "a red circle", rubric: str = "1. Colour (weight 1)", **more: Any
    ) -> dict[str, Any]:
        messages = [
            {"role": "system", "content": fence("CRITERIA", rubric)},
            {"role": "user", "content": [_text(fence("PROMPT", prompt)), *map(_image, images)]},
        ]
        return {"model": MODEL_ID, "messages": messages, "logprobs": True, "top_logprobs": 3, "max_tokens": 1, **more}

    return write


@pytest.fixture(scope="session")
def check_body() -> Callable[..., dict[str, Any]]:
    """`check_body(image, criterion=…, prompt=…, …)`: one that asks whether an image meets a criterion."""

    def write(
        *images: JudgeImage, criterion: str = "Colour", prompt: str = "a red circle", **more: Any
    ) -> dict[str, Any]:
        parts = [_text(fence("PROMPT", prompt)), *map(_image, images), _text(fence("CRITERION", criterion))]
        messages = [{"role": "user", "content": parts}]
        return {"model": MODEL_ID, "messages": messages, "logprobs": True, "top_logprobs": 3, "max_tokens": 1, **more}

    return write


@pytest.fixture(scope="session")
def log_odds() -> Callable[..., Any]:
    """`await log_odds(client, request, "1", "2")`: of the first label against the second."""

    async def ask(client: httpx2.AsyncClient, request: dict[str, Any], first: str = "1", second: str = "2") -> float:
        response = await client.post("/v1/chat/completions", json=request)
        assert response.status_code == 200, response.text
        position = response.json()["choices"][0]["logprobs"]["content"][0]
        found = {entry["token"]: entry["logprob"] for entry in position["top_logprobs"]}
        return float(found[first] - found[second])

    return ask


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _image(image: JudgeImage) -> dict[str, Any]:
    url = "data:image/png;base64," + base64.b64encode(image.png).decode()
    return {"type": "image_url", "image_url": {"url": url}}
