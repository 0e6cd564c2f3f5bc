"""An OpenAI-compatible server that understands what its test says it does, and answers as told."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.judging.backend import OpenAIBackend

LOG_PROBS = {"1": -0.3, " 1": -3.0, "2": -2.0, "Yes": -5.0, "yes": -6.0, " no": -4.5, "The": -5.5}
BY_LIKELIHOOD = sorted(LOG_PROBS, key=lambda token: -LOG_PROBS[token])
TOKEN_IDS = {text: number for number, text in enumerate([*LOG_PROBS, " 2", " yes", "no"], 100)}


Script: TypeAlias = Callable[[dict[str, Any]], Awaitable[Response]]
"""Body of a chat request → response."""


@dataclass
class Endpoint:
    """An OpenAI-compatible server that takes some parameters and refuses others; `script` answers in its place."""

    length_parameter: str = "max_tokens"
    takes_temperature: bool = True
    takes_seed: bool = True
    most_top_logprobs: int = 20
    """0 = log-probs are left out without a word."""
    refuses_logprobs: bool = False
    json_formats: tuple[str, ...] = ("json_schema", "json_object")
    """Others are ignored: it writes `prose`."""
    refuses_json: tuple[str, ...] = ()
    thinks_for: int = 0
    """Tokens it needs before it writes the first word."""
    refuses_little_room: bool = False
    """Whether it refuses to think for longer than it may, rather than being cut off."""
    complains: Literal["by name", "in prose", "without a word"] = "by name"
    tokenizes: bool = False
    label: str = "2"
    prose: str = "The second one."
    bodies: list[dict[str, Any]] = field(default_factory=list)
    script: Script | None = None

    @property
    def app(self) -> Starlette:
        routes = [Route("/v1/models", self._models), Route("/v1/chat/completions", self._chat, methods=["POST"])]
        if self.tokenizes:
            routes.append(Route("/tokenize", self._tokenize, methods=["POST"]))
        return Starlette(routes=routes)

    async def _models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": "foreign", "object": "model"}]})

    async def _tokenize(self, request: Request) -> Response:
        token_id = TOKEN_IDS.get((await request.json())["prompt"])
        return JSONResponse({"tokens": [1, 2] if token_id is None else [token_id]})

    async def _chat(self, request: Request) -> Response:
        body = json.loads(await request.body())
        self.bodies.append(body)
        if self.script is not None:
            return await self.script(body)
        if self.refuses_little_room and self._room(body) <= self.thinks_for:
            return JSONResponse({"error": {"message": "Could not finish the message: output limit reached."}}, 400)
        refused = self._refused_parameter(body)
        return JSONResponse(self._answer(body)) if refused is None else self._refusal(refused)

    def _room(self, body: dict[str, Any]) -> int:
        return int(body.get("max_tokens") or body["max_completion_tokens"])

    def _refused_parameter(self, body: dict[str, Any]) -> str | None:
        other = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}[self.length_parameter]
        wrong = {
            other: other in body,
            "temperature": "temperature" in body and not self.takes_temperature,
            "seed": "seed" in body and not self.takes_seed,
            "logprobs": "logprobs" in body and self.refuses_logprobs,
            "top_logprobs": body.get("top_logprobs", 0) > self.most_top_logprobs > 0,
            "response_format": body.get("response_format", {}).get("type") in self.refuses_json,
        }
        return next((name for name, is_wrong in wrong.items() if is_wrong), None)

    def _refusal(self, name: str) -> Response:
        match self.complains:
            case "by name":
                error = {"message": "Unsupported parameter.", "param": name, "code": "unsupported_parameter"}
            case "in prose":
                error = {"message": f"'{name}' is not supported with this model. Use 'something_else' instead."}
            case "without a word":
                error = {"message": "Bad request"}
        return JSONResponse({"error": error}, 400)

    def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        if self._room(body) <= self.thinks_for:
            return completion(content="", finish_reason="length", logprobs=None)
        if body.get("response_format", {}).get("type") in self.json_formats:
            return completion(content=json.dumps({"answer": self.label}))
        if not body.get("logprobs") or self.most_top_logprobs == 0:
            return completion(content=self.prose)
        listed = BY_LIKELIHOOD[: body.get("top_logprobs", 0)]
        if "logprob_token_ids" in body and self.tokenizes:
            listed = [token for token in BY_LIKELIHOOD if TOKEN_IDS[token] in body["logprob_token_ids"]]
        return completion(top=[(token, LOG_PROBS[token]) for token in listed])


def completion(*, top: list[Any] | None = None, content: Any = "1", **choice: Any) -> dict[str, Any]:
    """A chat completion with these log-probs at its first position."""
    entries = [{"token": token, "logprob": value} for token, value in top or []]
    log_probs = {"content": [entries[0] | {"top_logprobs": entries}]} if entries else None
    said = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop", "logprobs": log_probs}
    return {"choices": [said | choice], "usage": {"prompt_tokens": 700, "completion_tokens": 1}}


def answering(body: object, *, status: int = 200, retry_after: int = 7) -> Script:
    """A script that always sends this body: bytes as they are, else as JSON, NaN and Infinity included."""
    content = body if isinstance(body, bytes) else json.dumps(body)

    async def answer(_: dict[str, Any]) -> Response:
        headers = {"Retry-After": str(retry_after)}
        return Response(content, status, headers=headers, media_type="application/json")

    return answer


def in_turn(*scripts: Script) -> Script:
    """A script that answers like each of these in turn, and then always like the last."""
    left = list(scripts)

    async def answer(body: dict[str, Any]) -> Response:
        return await (left.pop(0) if len(left) > 1 else left[0])(body)

    return answer


def writing(text: str, **choice: Any) -> Script:
    """A script that always writes this."""
    return answering(completion(content=text, **choice))


BackendOf: TypeAlias = Callable[[Endpoint], OpenAIBackend]
"""What the fixture `backend_of` is."""
