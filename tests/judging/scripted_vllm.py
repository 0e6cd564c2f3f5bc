"""A vLLM by script: it answers as vLLM 0.32 was seen to, its image cache included."""

import itertools
import json
import math
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.judging.backend import OpenAIBackend
from services.judging.connection import JudgeConnection

MODEL = "tiny-qwen"
TOKENS = {"1": [24], " 1": [294], "2": [25], " 2": [295], "yes": [291], " yes": [307], "no": [281], " no": [303]}

LOG_PROBS = {24: -5.862071990966797, 294: -6.06101131439209, 25: -6.004090785980225, 295: -5.703065395355225}
"""What a Qwen3-VL with random weights answered: the labels are four tokens of 323."""

LOG_PROBS |= {291: -5.5, 307: -6.5, 281: -6.0, 303: -7.0}

P_FIRST = math.exp(LOG_PROBS[24]) + math.exp(LOG_PROBS[294])
P_SECOND = math.exp(LOG_PROBS[25]) + math.exp(LOG_PROBS[295])

NUM_SPELLINGS = 16
""""1", "2" and "yes", "no" in three cases each, all with and without a blank before them."""

REFUSED_IMAGES = {
    "message": "At most 1 image(s) may be provided in one prompt. (parameter=image)",
    "type": "BadRequestError",
    "param": "image",
    "code": 400,
}


def _entry(token_id: int) -> dict[str, Any]:
    name = f"token_id:{token_id}"
    return {"token": name, "logprob": LOG_PROBS[token_id], "bytes": list(name.encode())}


def _by_token_id(ids: list[int]) -> list[dict[str, Any]]:
    return [_entry(token_id) for token_id in sorted(ids, key=lambda token_id: -LOG_PROBS[token_id])]


def _by_text() -> list[dict[str, Any]]:
    tokens = [("\n", -4.64), ("1", -5.2), (" [", -5.36), ("2", -5.7)]
    return [{"token": token, "logprob": value, "bytes": list(token.encode())} for token, value in tokens]


CLOCK = itertools.count(1_700_000_000)
"""`created` is the time of the request."""


class Vllm:
    """The routes that the judge uses; `broken` maps a route to the status that it answers with."""

    def __init__(self, *, prefix: str = "") -> None:
        self.broken: dict[str, int] = {}
        self.error: dict[str, Any] = {"message": "scripted"}
        self.crashes_on: str | None = None
        self.orders_its_queue = True
        self.tokens = TOKENS
        self.card: dict[str, Any] = {"id": MODEL, "root": "/models/tiny", "parent": None, "max_model_len": 4096}
        self.version = "0.32.0"
        self.metrics = ""
        self.bodies: list[dict[str, Any]] = []
        self.keeps_images = True
        self._seen_images: set[str] = set()
        self.authorizations: list[str | None] = []
        routes = {
            "/v1/models": (self._models, "GET"),
            "/v1/chat/completions": (self._chat, "POST"),
            "/tokenize": (self._tokenize, "POST"),
            "/version": (self._version, "GET"),
            "/metrics": (self._metrics, "GET"),
        }
        self.app = Starlette(
            routes=[Route(prefix + path, self._guarded(path, run), methods=[m]) for path, (run, m) in routes.items()]
        )

    def _guarded(self, path: str, run: Callable[[Request], Awaitable[Response]]) -> Callable[..., Any]:
        async def handle(request: Request) -> Response:
            self.authorizations.append(request.headers.get("Authorization"))
            if path in self.broken:
                return JSONResponse({"error": self.error}, self.broken[path])
            return await run(request)

        return handle

    async def _models(self, _: Request) -> Response:
        card: dict[str, Any] = {"object": "model", "created": next(CLOCK), "permission": [], **self.card}
        return JSONResponse({"object": "list", "data": [card]})

    async def _version(self, _: Request) -> Response:
        return JSONResponse({"version": self.version})

    async def _metrics(self, _: Request) -> Response:
        return Response(self.metrics, media_type="text/plain; version=0.0.4")

    async def _tokenize(self, request: Request) -> Response:
        body = await request.json()
        if body["model"] != MODEL:
            return self._no_such_model(body["model"])
        tokens = self.tokens.get(body["prompt"], [60, 61, 62])
        return JSONResponse({"count": len(tokens), "max_model_len": 4096, "tokens": tokens, "token_strs": None})

    async def _chat(self, request: Request) -> Response:
        body = json.loads(await request.body())
        self.bodies.append(body)
        if body["model"] != MODEL:
            return self._no_such_model(body["model"])
        if self.crashes_on in body:
            return Response("Internal Server Error", 500)
        if body.get("priority") and not self.orders_its_queue:
            error = {"message": "Got priority 1 but Priority scheduling is not enabled.", "code": 400}
            return JSONResponse({"error": error}, 400)
        if refusal := self._without_bytes(body):
            return refusal
        top = _by_token_id(body["logprob_token_ids"]) if "logprob_token_ids" in body else _by_text()
        message = {"role": "assistant", "content": " 2", "refusal": None, "audio": None, "reasoning": None}
        choice = {"index": 0, "message": message, "finish_reason": "length", "stop_reason": None}
        choice |= {"logprobs": {"content": [top[0] | {"top_logprobs": top}]}}
        usage = {"prompt_tokens": 501, "total_tokens": 502, "completion_tokens": 1, "prompt_tokens_details": None}
        return JSONResponse({"object": "chat.completion", "choices": [choice], "usage": usage, "prompt_logprobs": None})

    def lose_images(self) -> None:
        """As a restart, or as many other images do."""
        self._seen_images.clear()

    def _without_bytes(self, body: dict[str, Any]) -> Response | None:
        """The refusal of a question with an image that has a name only, and one that is not known."""
        images = [part for part in body["messages"][-1]["content"] if part["type"] == "image_url"]
        for index, image in enumerate(images):
            if image["image_url"] is None and image["uuid"] not in self._seen_images:
                message = f"Cache miss for image at index {index} but data is not provided."
                return JSONResponse({"error": {"message": message, "type": "BadRequestError", "code": 400}}, 400)
        if self.keeps_images:
            self._seen_images |= {image["uuid"] for image in images if "uuid" in image}
        return None

    def _no_such_model(self, name: str) -> Response:
        message = f"The model `{name}` does not exist. Valid aliases: {MODEL}."
        error = {"message": message, "type": "NotFoundError", "param": "model", "code": 404}
        return JSONResponse({"error": error}, 404)


def backend_for(
    server: Vllm, *, url: str = "http://judge:8000", model: str | None = None, api_key: str | None = None
) -> OpenAIBackend:
    transport = httpx2.ASGITransport(app=server.app)
    return OpenAIBackend(JudgeConnection(url=url, api_key=api_key, transport=transport), model=model)
