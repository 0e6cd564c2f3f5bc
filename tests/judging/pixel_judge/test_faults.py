"""The pixel judge as a bad server: what it breaks, how often, and that nothing of it reads as an answer."""

import json
import math
import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeAlias

import httpx2
import pytest
from pydantic import ValidationError

from services.judging.backend import BackendError, OpenAIBackend
from services.judging.images import JudgeImage
from services.judging.pixel_judge import PixelJudgeSettings, create_pixel_judge_app
from services.judging.pixel_judge.faults import Fault, Malformation, draw_fault
from services.judging.probe_question import probe_question
from shared_schemas.problems import FailureType

Body: TypeAlias = Callable[..., dict[str, Any]]
SOON = timedelta(seconds=20)


def test_each_fault_comes_at_its_rate() -> None:
    settings = PixelJudgeSettings(error_rate=0.1, stall_rate=0.2, malformed_rate=0.3, drop_rate=0.25)
    dice = random.Random(0)
    drawn = Counter(draw_fault(settings, dice) for _ in range(10_000))
    # Three standard deviations of a share of 0.3 of 10,000 are 0.014.
    shares = {fault: number / 10_000 for fault, number in drawn.items()}
    assert shares == {
        Fault.ERROR: pytest.approx(0.1, abs=0.015),
        Fault.STALL: pytest.approx(0.2, abs=0.015),
        Fault.MALFORMED: pytest.approx(0.3, abs=0.015),
        Fault.DROP: pytest.approx(0.25, abs=0.015),
        None: pytest.approx(0.15, abs=0.015),
    }


def test_other_faults_leave_the_errors_of_a_seed_where_they_are() -> None:
    few, many = PixelJudgeSettings(error_rate=0.3), PixelJudgeSettings(error_rate=0.3, drop_rate=0.5)
    drawn = [[draw_fault(settings, dice) for _ in range(200)] for settings, dice in _with_dice(few, many)]
    errors = [[number for number, fault in enumerate(faults) if fault is Fault.ERROR] for faults in drawn]
    assert errors[0] == errors[1] != []


def _with_dice(*settings: PixelJudgeSettings) -> list[tuple[PixelJudgeSettings, random.Random]]:
    return [(one, random.Random(5)) for one in settings]


def test_no_request_can_have_two_faults() -> None:
    with pytest.raises(ValidationError, match="more than 1"):
        PixelJudgeSettings(error_rate=0.5, stall_rate=0.6)


async def test_malformed_answers_go_through_every_kind_and_begin_again(
    clients: Any, body: Body, red_circle: JudgeImage, blue_square: JudgeImage
) -> None:
    client = clients(malformed_rate=1.0)
    asked = [client.post("/v1/chat/completions", json=body(red_circle, blue_square)) for _ in range(7)]
    answers = [await one for one in asked]
    assert {answer.status_code for answer in answers} == {200}
    empty, cut, nan, none, wrong, positive, again = [answer.text for answer in answers]
    assert empty == again == ""
    with pytest.raises(json.JSONDecodeError):
        json.loads(cut)
    assert json.loads(none)["choices"] == []
    assert all(math.isnan(entry["logprob"]) for entry in _entries(nan))
    assert {entry["token"] for entry in _entries(wrong)} == {"perhaps"}
    assert {entry["logprob"] for entry in _entries(positive)} == {0.5}


def _entries(answer: str) -> list[dict[str, Any]]:
    """The token and its alternatives."""
    [choice] = json.loads(answer)["choices"]
    [position] = choice["logprobs"]["content"]
    return [position, *position["top_logprobs"]]


@pytest.mark.parametrize("log_probs", [True, False])
async def test_a_backend_takes_none_of_them_for_an_answer(log_probs: bool) -> None:
    healthy = create_pixel_judge_app(PixelJudgeSettings(log_probs=log_probs))
    broken = create_pixel_judge_app(PixelJudgeSettings(log_probs=log_probs, malformed_rate=1.0))
    current = [healthy]

    async def app(*connection: Any) -> None:
        await current[0](*connection)

    backend = OpenAIBackend.in_process(app)
    await backend.probe(within=SOON)
    assert backend.has_log_probs is log_probs
    current[0] = broken
    failures = []
    for _ in Malformation:
        with pytest.raises(BackendError) as failure:
            await backend.ask(probe_question(), within=SOON)
        failures.append(failure.value.type)
    assert set(failures) == {FailureType.JUDGE_MALFORMED}
    await backend.aclose()


async def test_malformed_json_answers_name_no_label(
    clients: Any, body: Body, red_circle: JudgeImage, blue_square: JudgeImage
) -> None:
    client = clients(malformed_rate=1.0, log_probs=False)
    request = body(red_circle, blue_square, response_format={"type": "json_object"}, logprobs=False, top_logprobs=0)
    answers = {kind: (await client.post("/v1/chat/completions", json=request)).text for kind in Malformation}
    said = {
        kind: json.loads(answers[kind])["choices"][0]["message"]["content"]
        for kind in (Malformation.NAN_LOG_PROB, Malformation.WRONG_LABEL, Malformation.POSITIVE_LOG_PROB)
    }
    assert list(said.values()) == ["nan", "perhaps", "0.5"]


async def test_a_dropped_connection_carries_no_byte_and_the_server_lives_on(
    serve: Callable[..., str], body: Body, red_circle: JudgeImage, blue_square: JudgeImage
) -> None:
    url = serve(create_pixel_judge_app(PixelJudgeSettings(drop_rate=1.0)))
    async with httpx2.AsyncClient(base_url=url) as client:
        with pytest.raises(httpx2.RemoteProtocolError, match="without sending a response"):
            await client.post("/v1/chat/completions", json=body(red_circle, blue_square))
        assert (await client.get("/health")).status_code == 200


async def test_in_process_a_dropped_connection_is_an_exception_of_the_application(
    clients: Any, body: Body, red_circle: JudgeImage, blue_square: JudgeImage
) -> None:
    with pytest.raises(ConnectionAbortedError, match="simulated"):
        await clients(drop_rate=1.0).post("/v1/chat/completions", json=body(red_circle, blue_square))
    app = create_pixel_judge_app(PixelJudgeSettings(drop_rate=1.0))
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://pixel-judge") as client:
        response = await client.post("/v1/chat/completions", json=body(red_circle, blue_square))
    assert response.status_code == 500
