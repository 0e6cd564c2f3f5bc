"""The pixel judge's HTTP side: the part of the OpenAI API (and of vLLM's) that a judge and a writer of rubrics need.

Owns routes and the way of one request through line, faults and judgement; verdicts come from `opinion`, texts from
`author`.

The one rule: it answers as a foreign server would, so that whatever works with it works over the API alone.
"""

import asyncio
import hashlib
import random

import numpy as np
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.judging.pixel_judge.author import write_answer
from services.judging.pixel_judge.capacity import NoPlaceError, Places
from services.judging.pixel_judge.completions import Completion, complete, write
from services.judging.pixel_judge.disconnection import unless_gone
from services.judging.pixel_judge.faults import DroppedConnection, Fault, Malformation, break_answer, draw_fault
from services.judging.pixel_judge.gallery import Gallery
from services.judging.pixel_judge.metrics import Metrics
from services.judging.pixel_judge.named_images import NamedImages
from services.judging.pixel_judge.opinion import approval, preference
from services.judging.pixel_judge.parsing import ChatRequest, Comparison, Question, QuestionError, read_question
from services.judging.pixel_judge.picture import PictureError
from services.judging.pixel_judge.settings import PixelJudgeSettings
from services.judging.pixel_judge.tokens import tokenize
from services.judging.pixel_judge.writing_requests import read_writing_request

MEASURES_VERSION = "pixel-judge-2"
"""Change it whenever a measure changes: it is part of the judge's fingerprint."""

_QUICK_BYTES = 1 << 16
"""Requests up to this size are judged on the event loop: a change of thread costs as much as two small images do."""

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


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
            Route("/health", server.health),
            Route("/metrics", server.metrics),
        ]
    )


class _PixelJudge:
    def __init__(self, settings: PixelJudgeSettings) -> None:
        self._settings = settings
        self._dice = random.Random(settings.seed)
        self._malformations = Malformation.cycle()
        self._places = Places(capacity=settings.capacity, overflow=settings.overflow)
        self._metrics = Metrics(self._places, model=settings.model)
        self._gallery = Gallery()
        self._named_images = NamedImages() if settings.keeps_images else NamedImages(room_bytes=0)

    async def models(self, request: Request) -> Response:
        """`GET /v1/models`."""
        model = {"id": self._settings.model, "object": "model", "owned_by": "rubric-reward"}
        return JSONResponse({"object": "list", "data": [model]})

    async def version(self, request: Request) -> Response:
        """`GET /version`, as vLLM has it: measures, and a digest of the settings that change answers."""
        return JSONResponse({"version": f"{MEASURES_VERSION}+{self._settings.opinion_digest}"})

    async def health(self, request: Request) -> Response:
        """`GET /health`, as vLLM has it: 200 and no body."""
        return Response()

    async def metrics(self, request: Request) -> Response:
        """`GET /metrics`, as vLLM has it, cut down to the line."""
        return Response(self._metrics.text(), headers={"Content-Type": _METRICS_TYPE})

    async def tokenize(self, request: Request) -> Response:
        """`POST /tokenize`, as vLLM has it."""
        try:
            body = _TokenizeRequest.model_validate_json(await request.body())
        except ValidationError:
            return _error(400, "the body must be a JSON object with a prompt")
        tokens = tokenize(body.prompt)
        return JSONResponse({"count": len(tokens), "tokens": tokens, "max_model_len": 1 << 20})

    async def chat(self, request: Request) -> Response:
        """`POST /v1/chat/completions`."""
        return await unless_gone(request, self._answer_in_turn)

    async def _answer_in_turn(self, body: bytes) -> Response:
        try:
            async with self._places.place():
                return await self._answer(body)
        except NoPlaceError:
            return _error(429, "as much is worked on as there is capacity for", retry_after_seconds=1)

    async def _answer(self, body: bytes) -> Response:
        settings = self._settings
        if settings.latency_ms:
            await asyncio.sleep(settings.latency_ms / 1000)
        fault = draw_fault(settings, self._dice)
        if fault is Fault.ERROR:
            return _error(settings.error_status, "a simulated fault", retry_after_seconds=1)
        if fault is Fault.STALL:
            await asyncio.Event().wait()
        if fault is Fault.DROP:
            return DroppedConnection()
        try:
            completion = await self._complete(body)
        except _RefusedError as refusal:
            return _error(refusal.status, str(refusal), param=refusal.param)
        if settings.token_ms:
            await asyncio.sleep(settings.token_ms / 1000 * (completion.usage.completion_tokens - 1))
        if fault is Fault.MALFORMED:
            answer = break_answer(completion, next(self._malformations))
        else:
            answer = completion.model_dump_json().encode()
        return Response(answer, media_type="application/json")

    async def _complete(self, body: bytes) -> Completion:
        """Judge or write. Raises `_RefusedError`."""
        is_quick = len(body) <= _QUICK_BYTES
        chat, finding = self._find(body) if is_quick else await run_in_threadpool(self._find, body)
        if isinstance(finding, str):
            return write(chat, finding)
        settings, (question, score) = self._settings, finding
        bias = settings.position_bias if isinstance(question, Comparison) else 0.0
        log_odds = settings.scale * score + bias + self._noise(chat)
        return complete(chat, labels=question.labels, log_odds=log_odds, label_mass=settings.label_mass)

    def _find(self, body: bytes) -> tuple[ChatRequest, str | tuple[Question, float]]:
        """The request and what is written; or its question and how much speaks for the first label, −1 to 1.

        Raises `_RefusedError`.
        """
        try:
            chat = ChatRequest.model_validate_json(body)
            self._check(chat)
            self._named_images.fill_in(chat)
            writing = read_writing_request(chat)
            if writing is not None:
                answer = write_answer(chat, writing, gallery=self._gallery, settings=self._settings)
                return chat, answer.model_dump_json()
            question = read_question(chat)
            if isinstance(question, Comparison):
                score = preference(question, self._gallery)
            else:
                score = approval(question, self._gallery)
        except ValidationError as error:
            what = error.errors(include_input=False)[0]["msg"]
            raise _RefusedError(f"the body is not a chat request: {what}") from None
        except (QuestionError, PictureError) as error:
            raise _RefusedError(str(error)) from None
        return chat, (question, score)

    def _check(self, chat: ChatRequest) -> None:
        if chat.model != self._settings.model:
            raise _RefusedError(f"the only model is {self._settings.model}", status=404)
        if chat.wants_log_probs and not self._settings.log_probs:
            raise _RefusedError("logprobs are not supported by this model", param="logprobs")

    def _noise(self, chat: ChatRequest) -> float:
        """Nats; a function of messages and seed, and of nothing like a priority, unless fresh noise is asked for."""
        settings = self._settings
        if settings.noise == 0:
            return 0.0
        if settings.fresh_noise:
            return self._dice.gauss(0, settings.noise)
        digest = hashlib.sha256(f"{settings.seed}:{chat.model_dump_json(include={'messages'})}".encode()).digest()
        return float(np.random.default_rng(int.from_bytes(digest[:8], "big")).normal(0, settings.noise))


class _RefusedError(Exception):
    """A request that gets an error for an answer, by its own fault."""

    def __init__(self, message: str, *, status: int = 400, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.param = param


def _error(
    status: int, message: str, *, param: str | None = None, retry_after_seconds: int | None = None
) -> JSONResponse:
    """An error as OpenAI's API has it."""
    headers = {"Retry-After": str(retry_after_seconds)} if retry_after_seconds and status in {429, 503} else None
    error = {"message": message, "type": "error", "param": param, "code": status}
    return JSONResponse({"error": error}, status, headers=headers)
