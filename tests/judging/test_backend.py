"""How a judge is probed, and what becomes of every kind of answer it can give."""

import json
import math
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.judging.backend import BackendError, OpenAIBackend
from services.judging.images import JudgeImage
from services.judging.judge import Judge, JudgeFailure, JudgeLimits, PairAnswer, PairQuestion
from services.judging.pixel_judge import MODEL_ID, PixelJudgeSettings, create_pixel_judge_app
from services.judging.prompts import pair_prompt
from shared_schemas.problems import FailureType
from shared_schemas.rubrics import RubricContent, Task

Handler = Callable[[dict[str, Any]], Awaitable[Response]]

TOP = [("1", -0.3), (" 1", -3.0), ("2", -2.0), ("The", -4.0)]
SOON = timedelta(seconds=20)


def completion(top: list[tuple[str, float]], *, chosen: str | None = None, **choice: Any) -> dict[str, Any]:
    """A chat completion with these log-probs at its first position."""
    entries = [{"token": token, "logprob": value} for token, value in top]
    position = {"token": chosen or top[0][0], "logprob": top[0][1], "top_logprobs": entries}
    content = {"message": {"role": "assistant", "content": "x"}, "logprobs": {"content": [position]}, **choice}
    return {"choices": [content], "usage": {"prompt_tokens": 700, "completion_tokens": 1}}


class Server:
    """An OpenAI-compatible server with `top_logprobs` and nothing else, which answers as told once it was probed."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.answer: Handler | None = None
        routes = [Route("/v1/models", self._models), Route("/v1/chat/completions", self._chat, methods=["POST"])]
        self.app = Starlette(routes=routes)

    async def _models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": "foreign", "object": "model"}]})

    async def _chat(self, request: Request) -> Response:
        body = json.loads(await request.body())
        self.bodies.append(body)
        return JSONResponse(completion(TOP)) if self.answer is None else await self.answer(body)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def question(red_circle: JudgeImage, blue_square: JudgeImage) -> PairQuestion:
    rubric = RubricContent(task=Task.T2I)
    return PairQuestion(prompt="a red circle", first=red_circle, second=blue_square, source=None, rubric=rubric)


async def test_a_server_with_nothing_but_top_logprobs_works(
    server: Server, start_judge: Callable[..., Awaitable[Judge]], question: PairQuestion
) -> None:
    judge = await start_judge(server.app)
    [answer] = await judge.compare([question], deadline=SOON)
    assert isinstance(answer, PairAnswer)
    # Whatever is first gets log(e^−0.3 + e^−3) − (−2), as the spelling " 1" counts as the label "1".
    assert answer.verdict.position_bias == pytest.approx(math.log(math.exp(-0.3) + math.exp(-3)) + 2)
    assert answer.verdict.margin == 0
    assert answer.verdict.label_mass == pytest.approx(math.exp(-0.3) + math.exp(-3) + math.exp(-2))
    assert (answer.prompt_tokens, answer.completion_tokens, answer.judge_calls) == (1400, 2, 2)
    assert judge.identity.model == "foreign"


async def test_one_token_is_asked_for_at_temperature_zero_with_data_urls_only(
    server: Server, start_judge: Callable[..., Awaitable[Judge]], question: PairQuestion
) -> None:
    judge = await start_judge(server.app)
    await judge.compare([question], deadline=SOON)
    body = server.bodies[-1]
    assert (body["max_tokens"], body["temperature"], body["logprobs"], body["top_logprobs"]) == (1, 0, True, 20)
    system, user = body["messages"]
    assert system["role"] == "system"
    images = [part["image_url"]["url"] for part in user["content"] if part["type"] == "image_url"]
    assert len(images) == 2
    assert all(url.startswith("data:image/png;base64,") for url in images)


async def test_a_label_beyond_the_top_is_censored_at_the_smallest_value_and_adds_no_mass(
    server: Server, start_judge: Callable[..., Awaitable[Judge]], question: PairQuestion
) -> None:
    judge = await start_judge(server.app)

    async def answer(body: dict[str, Any]) -> Response:
        return JSONResponse(completion([("1", -0.1), ("A", -5.0), ("B", -7.0)]))

    server.answer = answer
    [reply] = await judge.compare([question], deadline=SOON)
    assert isinstance(reply, PairAnswer)
    assert reply.verdict.position_bias == pytest.approx(6.9)
    assert reply.verdict.label_mass == pytest.approx(math.exp(-0.1))


def refusing(*parameters: str) -> Handler:
    """Answer 400 to these parameters, as servers do that do not know them."""

    async def answer(body: dict[str, Any]) -> Response:
        if unknown := [name for name in parameters if name in body]:
            return JSONResponse({"error": {"message": f"Unsupported parameter: {unknown[0]}"}}, 400)
        top = TOP[: body["top_logprobs"]]
        return JSONResponse(completion(top))

    return answer


async def test_renamed_and_fixed_parameters_are_found_out_by_asking(
    server: Server, start_judge: Callable[..., Awaitable[Judge]], question: PairQuestion
) -> None:
    server.answer = refusing("max_tokens", "temperature")
    judge = await start_judge(server.app)
    [answer] = await judge.compare([question], deadline=SOON)
    assert isinstance(answer, PairAnswer)
    assert "max_completion_tokens" in server.bodies[-1]


async def test_a_server_that_lists_at_most_five_is_asked_for_five(
    server: Server, start_judge: Callable[..., Awaitable[Judge]]
) -> None:
    async def answer(body: dict[str, Any]) -> Response:
        if body["top_logprobs"] > 5:
            return JSONResponse({"error": {"message": "top_logprobs must be at most 5"}}, 400)
        return JSONResponse(completion(TOP))

    server.answer = answer
    await start_judge(server.app)
    assert server.bodies[-1]["top_logprobs"] == 5


async def test_a_server_without_log_probabilities_is_refused_at_the_start(server: Server) -> None:
    async def answer(body: dict[str, Any]) -> Response:
        return JSONResponse(completion(TOP, logprobs=None))

    server.answer = answer
    backend = OpenAIBackend.in_process(server.app)
    with pytest.raises(
        BackendError, match="its answer has no log-probabilities, whichever way 'foreign' is asked"
    ) as caught:
        await backend.probe(within=SOON)
    assert caught.value.type is FailureType.JUDGE_MALFORMED
    await backend.aclose()


async def test_a_server_that_returns_the_chosen_token_alone_has_no_log_odds(server: Server) -> None:
    async def answer(body: dict[str, Any]) -> Response:
        return JSONResponse(completion(TOP[:1]))

    server.answer = answer
    backend = OpenAIBackend.in_process(server.app)
    with pytest.raises(BackendError, match="its answer lacks the log-probabilities of the labels"):
        await backend.probe(within=SOON)
    await backend.aclose()


async def test_a_server_that_nobody_listens_behind_is_unavailable(free_port: Callable[[], int]) -> None:
    backend = OpenAIBackend.over_url(f"http://127.0.0.1:{free_port()}", model="any")
    with pytest.raises(BackendError, match="cannot be reached") as caught:
        await backend.probe(within=SOON)
    assert caught.value.type is FailureType.JUDGE_UNAVAILABLE
    await backend.aclose()


async def test_label_tokens_are_asked_for_by_id_where_the_server_can(
    start_judge: Callable[..., Awaitable[Judge]], question: PairQuestion
) -> None:
    backend = OpenAIBackend.in_process(create_pixel_judge_app(PixelJudgeSettings(label_mass=0.9, position_bias=1.0)))
    identity = await backend.probe(within=SOON)
    assert (identity.model, identity.style) == (MODEL_ID, "logprob_token_ids")
    assert identity.server_version.startswith("pixel-judge-")
    prompt = pair_prompt("a red circle", question.first, question.first, source=None, rubric=question.rubric)
    answer = await backend.ask(prompt, within=SOON)
    assert answer.log_odds == pytest.approx(1.0)
    assert answer.label_mass == pytest.approx(0.9)
    await backend.aclose()


BROKEN = {
    "empty choices": (FailureType.JUDGE_MALFORMED, {"choices": []}),
    "no log-probs": (FailureType.JUDGE_MALFORMED, completion(TOP, logprobs=None)),
    "no position": (FailureType.JUDGE_MALFORMED, completion(TOP, logprobs={"content": []})),
    "not a number": (FailureType.JUDGE_MALFORMED, completion([("1", math.nan), ("2", -1.0)])),
    "infinite": (FailureType.JUDGE_MALFORMED, completion([("1", -math.inf), ("2", -1.0)])),
    "a probability above one": (FailureType.JUDGE_MALFORMED, completion([("1", 0.5), ("2", -1.0)])),
    "text for a number": (FailureType.JUDGE_MALFORMED, completion([("1", "high"), ("2", -1.0)])),  # type: ignore[list-item]
    "nothing": (FailureType.JUDGE_MALFORMED, {}),
    "a list": (FailureType.JUDGE_MALFORMED, []),
    "wrong labels": (FailureType.JUDGE_OFF_TOPIC, completion([("3", -0.1), ("4", -3.0)])),
    "hardly any label": (FailureType.JUDGE_OFF_TOPIC, completion([("The", -0.1), ("1", -3.0), ("2", -4.0)])),
    "refusal": (
        FailureType.JUDGE_REFUSED,
        completion(TOP, message={"role": "assistant", "content": None, "refusal": "I cannot help with that."}),
    ),
    "content filter": (FailureType.JUDGE_REFUSED, completion(TOP, finish_reason="content_filter")),
}


@pytest.mark.parametrize(("expected", "body"), BROKEN.values(), ids=BROKEN.keys())
async def test_a_broken_answer_is_a_typed_failure_and_is_forgotten(
    expected: FailureType,
    body: object,
    server: Server,
    start_judge: Callable[..., Awaitable[Judge]],
    question: PairQuestion,
) -> None:
    judge = await start_judge(server.app)

    async def answer(_: dict[str, Any]) -> Response:
        return Response(json.dumps(body), media_type="application/json")  # json.dumps writes NaN and Infinity

    server.answer = answer
    [failure] = await judge.compare([question], deadline=SOON)
    assert isinstance(failure, JudgeFailure)
    assert failure.type is expected
    assert failure.judge_calls == 2
    server.answer = None
    [reply] = await judge.compare([question], deadline=SOON)
    assert isinstance(reply, PairAnswer)
    assert reply.cached_answers == 0


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, FailureType.JUDGE_REFUSED),
        (401, FailureType.JUDGE_UNAVAILABLE),
        (408, FailureType.JUDGE_TIMEOUT),
        (413, FailureType.JUDGE_REFUSED),
        (429, FailureType.JUDGE_OVERLOADED),
        (500, FailureType.JUDGE_UNAVAILABLE),
        (503, FailureType.JUDGE_UNAVAILABLE),
    ],
)
async def test_every_http_status_is_a_failure_that_quotes_nothing(
    status: int,
    expected: FailureType,
    server: Server,
    start_judge: Callable[..., Awaitable[Judge]],
    question: PairQuestion,
) -> None:
    judge = await start_judge(server.app)

    async def answer(_: dict[str, Any]) -> Response:
        return JSONResponse({"error": {"message": "key sk-canary is wrong"}}, status)

    server.answer = answer
    [failure] = await judge.compare([question], deadline=SOON)
    assert isinstance(failure, JudgeFailure)
    assert failure.type is expected
    assert "canary" not in failure.detail


@pytest.mark.parametrize("text", ["<html>Bad gateway</html>", "", '{"choices": [{', "\x00\xff"])
async def test_a_body_that_is_not_json_is_malformed(
    text: str, server: Server, start_judge: Callable[..., Awaitable[Judge]], question: PairQuestion
) -> None:
    judge = await start_judge(server.app)

    async def answer(_: dict[str, Any]) -> Response:
        return Response(text.encode("latin-1"), media_type="application/json")

    server.answer = answer
    [failure] = await judge.compare([question], deadline=SOON)
    assert isinstance(failure, JudgeFailure)
    assert failure.type is FailureType.JUDGE_MALFORMED


async def test_a_server_that_crashes_is_unavailable(
    server: Server, start_judge: Callable[..., Awaitable[Judge]], question: PairQuestion
) -> None:
    judge = await start_judge(server.app)

    async def answer(_: dict[str, Any]) -> Response:
        raise RuntimeError("out of memory")

    server.answer = answer
    [failure] = await judge.compare([question], deadline=SOON)
    assert isinstance(failure, JudgeFailure)
    assert failure.type is FailureType.JUDGE_UNAVAILABLE


async def test_a_stalled_call_is_a_timeout(
    server: Server, start_judge: Callable[..., Awaitable[Judge]], question: PairQuestion, stall: Handler
) -> None:
    judge = await start_judge(server.app, limits=JudgeLimits(attempts=1, call_timeout=timedelta(milliseconds=500)))
    server.answer = stall
    [failure] = await judge.compare([question], deadline=SOON)
    assert isinstance(failure, JudgeFailure)
    assert failure.type is FailureType.JUDGE_TIMEOUT
    assert "0.5 s" in failure.detail


async def test_the_fingerprint_changes_with_the_server_and_with_the_way_of_asking(
    server: Server, start_judge: Callable[..., Awaitable[Judge]]
) -> None:
    first = (await start_judge(server.app)).identity
    assert (await start_judge(server.app)).identity == first
    server.answer = refusing("max_tokens", "temperature")
    assert (await start_judge(server.app)).identity.fingerprint != first.fingerprint
