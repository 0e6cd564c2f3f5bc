"""The pixel judge's HTTP side: the part of the OpenAI API (and of vLLM's) that a one-token judge needs.

Owns routes, response shapes and simulated faults; the verdict comes from `opinion`.

The one rule: it answers as a foreign server would, so that whatever works with it works over the API alone.
"""

import asyncio
import hashlib
import math
import random
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from services.judging.pixel_judge.opinion import preference
from services.judging.pixel_judge.parsing import ChatRequest, QuestionError, read_question
from services.judging.pixel_judge.picture import PictureError
from services.judging.pixel_judge.settings import MODEL_ID, PixelJudgeSettings
from shared_schemas.rubrics import json_digest

MEASURES_VERSION = "pixel-judge-1"
"""Change it whenever a measure changes: it is part of the judge's fingerprint."""

_FAULTS = {"latency_ms", "error_rate", "error_status"}
"""Settings that delay or withhold an answer and never change one."""

_QUICK_BYTES = 1 << 16
"""Requests up to this size are judged on the event loop: a change of thread costs as much as two small images do."""

_OTHER_TOKEN = "The"
"""What the rest of the probability, beside the labels, would say."""


class _TokenizeRequest(BaseModel):
    prompt: str


def create_pixel_judge_app(settings: PixelJudgeSettings | None = None) -> Starlette:
    """Build the ASGI application. Without settings they are read from the environment."""
    server = _PixelJudge(settings or PixelJudgeSettings())
    return Starlette(
        routes=[
            Route("/v1/models", server.models),
            Route("/v1/chat/completions", server.chat, methods=["POST"]),
            Route("/tokenize", server.tokenize, methods=["POST"]),
            Route("/version", server.version),
        ]
    )


class _PixelJudge:
    def __init__(self, settings: PixelJudgeSettings) -> None:
        self._settings = settings
        opinion = json_digest(settings.model_dump(mode="json", exclude=_FAULTS)).removeprefix("sha256:")
        self._version = f"{MEASURES_VERSION}+{opinion[:12]}"
        self._dice = random.Random(settings.seed)

    async def models(self, request: Request) -> JSONResponse:
        """`GET /v1/models`."""
        model = {"id": MODEL_ID, "object": "model", "owned_by": "rubric-reward"}
        return JSONResponse({"object": "list", "data": [model]})

    async def version(self, request: Request) -> JSONResponse:
        """`GET /version`, as vLLM has it: measures, and a digest of the settings that change answers."""
        return JSONResponse({"version": self._version})

    async def tokenize(self, request: Request) -> JSONResponse:
        """`POST /tokenize`, as vLLM has it: one token per character, its code point."""
        try:
            body = _TokenizeRequest.model_validate_json(await request.body())
        except ValidationError:
            return _error(400, "the body must be a JSON object with a prompt")
        tokens = [ord(character) for character in body.prompt]
        return JSONResponse({"count": len(tokens), "tokens": tokens, "max_model_len": 1 << 20})

    async def chat(self, request: Request) -> JSONResponse:
        """`POST /v1/chat/completions`."""
        settings = self._settings
        body = await request.body()
        if settings.latency_ms:
            await asyncio.sleep(settings.latency_ms / 1000)
        if self._dice.random() < settings.error_rate:
            return _error(settings.error_status, "a simulated fault", retry_after_seconds=1)
        try:
            chat = ChatRequest.model_validate_json(body)
            if chat.model != MODEL_ID:
                return _error(404, f"the only model is {MODEL_ID}")
            question = read_question(chat)
            is_quick = len(body) <= _QUICK_BYTES
            score = preference(question) if is_quick else await run_in_threadpool(preference, question)
        except ValidationError as error:
            return _error(400, f"the body is not a chat request: {error.errors(include_input=False)[0]['msg']}")
        except (QuestionError, PictureError) as error:
            return _error(400, str(error))
        log_odds = settings.scale * score + settings.position_bias + self._noise(body)
        return JSONResponse(_completion(chat, _log_probs(log_odds, settings.label_mass)))

    def _noise(self, body: bytes) -> float:
        """Nats; a function of the request and the seed unless fresh noise is asked for."""
        settings = self._settings
        if settings.noise == 0:
            return 0.0
        if settings.fresh_noise:
            return self._dice.gauss(0, settings.noise)
        digest = hashlib.sha256(f"{settings.seed}:".encode() + body).digest()
        return float(np.random.default_rng(int.from_bytes(digest[:8], "big")).normal(0, settings.noise))


def _log_probs(log_odds: float, label_mass: float) -> dict[str, float]:
    """Log-probs of "1", "2" and, for what is left, one other token."""
    log_p_first = -math.log1p(math.exp(-log_odds)) if log_odds > 0 else log_odds - math.log1p(math.exp(log_odds))
    log_mass = math.log(label_mass)
    log_probs = {"1": log_mass + log_p_first, "2": log_mass + log_p_first - log_odds}
    if label_mass < 1:
        log_probs[_OTHER_TOKEN] = math.log1p(-label_mass)
    return log_probs


def _completion(chat: ChatRequest, log_probs: Mapping[str, float]) -> dict[str, Any]:
    by_likelihood = sorted(log_probs, key=lambda token: -log_probs[token])
    if chat.logprob_token_ids is None:
        chosen, listed = by_likelihood[0], by_likelihood[: chat.top_logprobs]
    else:
        listed = [token for token in by_likelihood if len(token) == 1 and ord(token) in chat.logprob_token_ids]
        chosen = listed[0] if listed else by_likelihood[0]

    def entry(token: str) -> dict[str, Any]:
        by_id = chat.return_tokens_as_token_ids and len(token) == 1
        return {"token": f"token_id:{ord(token)}" if by_id else token, "logprob": log_probs[token], "bytes": None}

    position = {**entry(chosen), "top_logprobs": [entry(token) for token in listed]}
    num_prompt_tokens = len(chat.text)
    return {
        "id": "chatcmpl-pixel-judge",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": MODEL_ID,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": chosen},
                "logprobs": {"content": [position]} if chat.logprobs else None,
                "finish_reason": "length",
            }
        ],
        "usage": {
            "prompt_tokens": num_prompt_tokens,
            "completion_tokens": 1,
            "total_tokens": num_prompt_tokens + 1,
        },
    }


def _error(status: int, message: str, *, retry_after_seconds: int | None = None) -> JSONResponse:
    """An error as OpenAI's API has it."""
    headers = {"Retry-After": str(retry_after_seconds)} if retry_after_seconds and status in {429, 503} else None
    return JSONResponse({"error": {"message": message, "type": "error", "code": status}}, status, headers=headers)
