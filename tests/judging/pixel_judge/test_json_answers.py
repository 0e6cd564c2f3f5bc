"""Answers as JSON, for clients that cannot read log-probabilities."""

import json
import time
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from services.judging.images import JudgeImage

Body: TypeAlias = Callable[..., dict[str, Any]]


def schema(*values: str, name: str = "answer") -> dict[str, Any]:
    wanted = {
        "type": "object",
        "properties": {name: {"type": "string", "enum": list(values)}},
        "required": [name],
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": "verdict", "strict": True, "schema": wanted}}


async def said(client: Any, request: dict[str, Any]) -> Any:
    response = await client.post("/v1/chat/completions", json=request)
    assert response.status_code == 200, response.text
    [choice] = response.json()["choices"]
    assert choice["finish_reason"] == "stop"
    assert choice["logprobs"] is None
    return json.loads(choice["message"]["content"])


@pytest.mark.parametrize("form", [schema("1", "2"), {"type": "json_object"}])
async def test_the_better_image_is_named_in_either_order(
    form: dict[str, Any], clients: Any, body: Body, red_circle: JudgeImage, blue_square: JudgeImage
) -> None:
    client = clients()
    assert await said(client, body(red_circle, blue_square, response_format=form)) == {"answer": "1"}
    assert await said(client, body(blue_square, red_circle, response_format=form)) == {"answer": "2"}


@pytest.mark.parametrize("form", [schema("yes", "no"), schema("no", "yes"), {"type": "json_object"}])
async def test_a_criterion_is_met_or_not(
    form: dict[str, Any], clients: Any, check_body: Body, red_circle: JudgeImage, blue_square: JudgeImage
) -> None:
    client = clients()
    assert await said(client, check_body(red_circle, response_format=form)) == {"answer": "yes"}
    assert await said(client, check_body(blue_square, response_format=form)) == {"answer": "no"}


async def test_names_of_the_schema_are_taken_over(
    clients: Any, body: Body, red_circle: JudgeImage, blue_square: JudgeImage
) -> None:
    form = schema("left", "right", name="winner")
    assert await said(clients(), body(blue_square, red_circle, response_format=form)) == {"winner": "right"}


async def test_a_form_that_is_not_known_is_refused(clients: Any, body: Body, red_circle: JudgeImage) -> None:
    request = body(red_circle, red_circle, response_format={"type": "grammar"})
    assert (await clients().post("/v1/chat/completions", json=request)).status_code == 400


async def test_a_server_without_log_probabilities_refuses_them_by_name_and_answers_json(
    clients: Any, body: Body, red_circle: JudgeImage, blue_square: JudgeImage
) -> None:
    client = clients(log_probs=False)
    refused = await client.post("/v1/chat/completions", json=body(red_circle, blue_square))
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "logprobs"
    plain = body(red_circle, blue_square, response_format=schema("1", "2"), logprobs=False, top_logprobs=0)
    assert await said(client, plain) == {"answer": "1"}


async def test_a_reason_that_the_schema_wants_is_as_long_as_it_must_be_and_stands_before_the_answer(
    clients: Any, body: Body, red_circle: JudgeImage, blue_square: JudgeImage
) -> None:
    form = schema("1", "2")
    form["json_schema"]["schema"]["properties"]["reason"] = {"type": "string", "minLength": 7}
    answer = await said(clients(), body(red_circle, blue_square, response_format=form))
    assert list(answer.items()) == [("reason", "......."), ("answer", "1")]


async def test_every_token_after_the_first_takes_its_time(
    clients: Any, body: Body, red_circle: JudgeImage, blue_square: JudgeImage
) -> None:
    client = clients(token_ms=5.0)
    begun = time.monotonic()
    await said(client, body(red_circle, blue_square, response_format=schema("1", "2")))
    assert time.monotonic() - begun >= (len('{"answer": "1"}') - 1) * 0.005
