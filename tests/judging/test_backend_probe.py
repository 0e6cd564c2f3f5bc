"""What is found out about a server before it is asked: a scripted one that answers as vLLM 0.32 was seen to."""

import json
import math
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from services.judging.backend import BackendError, OpenAIBackend
from services.judging.images import JudgeImage
from services.judging.judge import Judge, JudgeFailure, JudgeLimits, PairAnswer, PairQuestion
from services.judging.probe_question import probe_question
from shared_schemas.problems import FailureType
from shared_schemas.rubrics import RubricContent, Task

SOON = timedelta(seconds=20)
MODEL = "tiny-qwen"
TOKENS = {"1": [24], " 1": [294], "2": [25], " 2": [295]}

LOG_PROBS = {24: -5.862071990966797, 294: -6.06101131439209, 25: -6.004090785980225, 295: -5.703065395355225}
"""What a Qwen3-VL with random weights answered: the labels are four tokens of 323."""

P_FIRST = math.exp(LOG_PROBS[24]) + math.exp(LOG_PROBS[294])
P_SECOND = math.exp(LOG_PROBS[25]) + math.exp(LOG_PROBS[295])

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


class Vllm:
    """The routes that the judge uses; `broken` maps a route to the status that it answers with."""

    def __init__(self, *, prefix: str = "") -> None:
        self.broken: dict[str, int] = {}
        self.error: dict[str, Any] = {"message": "scripted"}
        self.crashes_on: str | None = None
        self.bodies: list[dict[str, Any]] = []
        self.authorizations: list[str | None] = []
        routes = {
            "/v1/models": (self._models, "GET"),
            "/v1/chat/completions": (self._chat, "POST"),
            "/tokenize": (self._tokenize, "POST"),
            "/version": (self._version, "GET"),
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
        model = {"id": MODEL, "object": "model", "owned_by": "vllm", "root": "/models/tiny", "max_model_len": 4096}
        return JSONResponse({"object": "list", "data": [model]})

    async def _version(self, _: Request) -> Response:
        return JSONResponse({"version": "0.32.0"})

    async def _tokenize(self, request: Request) -> Response:
        body = await request.json()
        if body["model"] != MODEL:
            return self._no_such_model(body["model"])
        tokens = TOKENS[body["prompt"]]
        return JSONResponse({"count": len(tokens), "max_model_len": 4096, "tokens": tokens, "token_strs": None})

    async def _chat(self, request: Request) -> Response:
        body = json.loads(await request.body())
        self.bodies.append(body)
        if body["model"] != MODEL:
            return self._no_such_model(body["model"])
        if self.crashes_on in body:
            return Response("Internal Server Error", 500)
        top = _by_token_id(body["logprob_token_ids"]) if "logprob_token_ids" in body else _by_text()
        message = {"role": "assistant", "content": " 2", "refusal": None, "audio": None, "reasoning": None}
        choice = {"index": 0, "message": message, "finish_reason": "length", "stop_reason": None}
        choice |= {"logprobs": {"content": [top[0] | {"top_logprobs": top}]}}
        usage = {"prompt_tokens": 501, "total_tokens": 502, "completion_tokens": 1, "prompt_tokens_details": None}
        return JSONResponse({"object": "chat.completion", "choices": [choice], "usage": usage, "prompt_logprobs": None})

    def _no_such_model(self, name: str) -> Response:
        message = f"The model `{name}` does not exist. Valid aliases: {MODEL}."
        error = {"message": message, "type": "NotFoundError", "param": "model", "code": 404}
        return JSONResponse({"error": error}, 404)


@pytest.fixture
def vllm() -> Vllm:
    return Vllm()


@pytest.fixture
def pair(red_circle: JudgeImage, blue_square: JudgeImage) -> PairQuestion:
    rubric = RubricContent(task=Task.T2I)
    return PairQuestion(prompt="a red circle", first=red_circle, second=blue_square, source=None, rubric=rubric)


def backend_for(
    server: Vllm, *, url: str = "http://judge:8000", model: str | None = None, api_key: str | None = None
) -> OpenAIBackend:
    return OpenAIBackend(url=url, model=model, api_key=api_key, transport=httpx2.ASGITransport(app=server.app))


async def test_vllm_is_asked_for_the_raw_log_probs_of_every_spelling_of_the_labels(vllm: Vllm) -> None:
    backend = backend_for(vllm)
    identity = await backend.probe(within=SOON)
    assert (identity.model, identity.server_version, identity.style) == (MODEL, "0.32.0", "logprob_token_ids")
    answer = await backend.ask(probe_question(), within=SOON)
    body = vllm.bodies[-1]
    assert body["logprob_token_ids"] == body["allowed_token_ids"] == [24, 294, 25, 295]
    assert (body["max_tokens"], body["temperature"], body["logprobs"]) == (1, 0, True)
    assert "top_logprobs" not in body
    assert answer.log_odds == pytest.approx(math.log(P_FIRST / P_SECOND))
    assert answer.label_mass == pytest.approx(P_FIRST + P_SECOND)
    assert (answer.prompt_tokens, answer.completion_tokens) == (501, 1)


async def test_a_model_that_hardly_considers_the_labels_is_off_topic_unless_the_limit_is_lowered(
    vllm: Vllm, start_judge: Callable[..., Awaitable[Judge]], pair: PairQuestion
) -> None:
    [failure] = await (await start_judge(vllm.app)).compare([pair], deadline=SOON)
    assert isinstance(failure, JudgeFailure)
    assert failure.type is FailureType.JUDGE_OFF_TOPIC
    assert failure.detail.endswith("a probability of 0.011; at least 0.5 counts")
    lenient = await start_judge(vllm.app, limits=JudgeLimits(min_label_mass=0.01))
    [answer] = await lenient.compare([pair], deadline=SOON)
    assert isinstance(answer, PairAnswer)
    assert answer.verdict.label_mass == pytest.approx(P_FIRST + P_SECOND)


@pytest.mark.parametrize(
    ("route", "status"),
    [
        (route, status)
        for route in ("/v1/models", "/tokenize", "/version", "/v1/chat/completions")
        for status in (408, 429)
    ]
    + [(route, status) for route in ("/v1/models", "/v1/chat/completions") for status in (502, 503, 504)],
)
async def test_a_server_that_is_busy_or_away_is_not_taken_for_a_lesser_one(vllm: Vllm, route: str, status: int) -> None:
    backend = backend_for(vllm)
    vllm.broken = {route: status}
    with pytest.raises(BackendError) as caught:
        await backend.probe(within=SOON)
    assert caught.value.type.is_retryable
    vllm.broken = {}
    assert (await backend.probe(within=SOON)).style == "logprob_token_ids"


async def test_a_connection_that_breaks_at_tokenize_is_not_taken_for_a_lesser_server(vllm: Vllm) -> None:
    async def breaking(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/tokenize":
            raise httpx2.ReadError("reset by peer")
        await vllm.app(scope, receive, send)

    transport = httpx2.ASGITransport(app=breaking)
    backend = OpenAIBackend(url="http://judge", model=None, api_key=None, transport=transport)
    with pytest.raises(BackendError, match="broke the connection off"):
        await backend.probe(within=SOON)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 500, 501, 503])
async def test_a_server_without_tokenize_is_asked_for_top_log_probs(vllm: Vllm, status: int) -> None:
    vllm.broken = {"/tokenize": status, "/version": status}
    identity = await backend_for(vllm).probe(within=SOON)
    assert (identity.server_version, identity.style) == ("", "top_logprobs=20")
    assert "allowed_token_ids" not in vllm.bodies[-1]


async def test_a_server_that_crashes_on_what_it_does_not_know_is_asked_another_way(vllm: Vllm) -> None:
    vllm.crashes_on = "logprob_token_ids"
    assert (await backend_for(vllm).probe(within=SOON)).style == "top_logprobs=20"


async def test_a_model_that_is_not_served_is_named_beside_those_that_are(vllm: Vllm) -> None:
    with pytest.raises(BackendError) as caught:
        await backend_for(vllm, model="nope").probe(within=SOON)
    assert caught.value.detail == "the judge has no model 'nope'; it serves tiny-qwen"
    assert caught.value.type is FailureType.JUDGE_REFUSED
    assert len(vllm.bodies) == 1


@pytest.mark.parametrize(
    ("model", "detail"),
    [(None, "it lists no models; its URL is wrong"), (MODEL, "no chat API for 'tiny-qwen' at this")],
)
async def test_a_wrong_url_is_said_to_be_one(vllm: Vllm, model: str | None, detail: str) -> None:
    with pytest.raises(BackendError, match=detail):
        await backend_for(vllm, url="http://judge:8000/v2", model=model).probe(within=SOON)


async def test_a_server_that_refuses_every_way_of_asking_is_quoted_with_the_parameter_it_names(vllm: Vllm) -> None:
    vllm.broken, vllm.error = {"/v1/chat/completions": 400}, REFUSED_IMAGES
    with pytest.raises(BackendError) as caught:
        await backend_for(vllm).probe(within=SOON)
    assert caught.value.type is FailureType.JUDGE_REFUSED
    assert caught.value.detail == "the judge refused the request (HTTP 400: image), whichever way 'tiny-qwen' is asked"


async def test_a_server_that_keeps_us_out_is_asked_once(vllm: Vllm) -> None:
    vllm.broken = {"/v1/chat/completions": 401}
    with pytest.raises(BackendError, match="refused our credentials") as caught:
        await backend_for(vllm, model=MODEL).probe(within=SOON)
    assert caught.value.type is FailureType.JUDGE_UNAVAILABLE
    num_label_spellings, num_chats = 4, 1
    assert len(vllm.authorizations) == num_label_spellings + num_chats


@pytest.mark.parametrize("url", ["http://judge", "http://judge/", "http://judge/v1", "http://judge:8000/v1/"])
async def test_the_url_may_end_in_v1_or_not_and_the_key_goes_to_every_route(vllm: Vllm, url: str) -> None:
    identity = await backend_for(vllm, url=url, api_key="sk-right").probe(within=SOON)
    assert identity.style == "logprob_token_ids"
    assert set(vllm.authorizations) == {"Bearer sk-right"}


async def test_a_judge_behind_a_path_is_reached_with_all_its_routes() -> None:
    identity = await backend_for(Vllm(prefix="/gpu-1"), url="http://gateway/gpu-1/v1").probe(within=SOON)
    assert (identity.server_version, identity.style) == ("0.32.0", "logprob_token_ids")
