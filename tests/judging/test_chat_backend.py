"""Servers that write and need not judge."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from services.judging.backend import BackendError, BackendNotProbedError, ChatMessage, Role
from services.judging.chat_backend import ChatBackend
from shared_schemas.problems import FailureType
from tests.judging.scripted_endpoint import Endpoint, answering, completion, writing

SOON = timedelta(seconds=20)
FENCED = 'The white one.\n```json\n{"answer": "1"}\n```'


class Answer(BaseModel):
    """What scripted endpoints write."""

    answer: str


@pytest.mark.parametrize("complains", ["by name", "in prose", "without a word"])
@pytest.mark.parametrize(
    ("takes", "style"),
    [
        ({}, "json_schema"),
        ({"takes_seed": False}, "json_schema, no seed"),
        ({"takes_temperature": False}, "json_schema, no temperature"),
        ({"refuses_json": ("json_schema",)}, "json_object"),
        ({"refuses_json": ("json_schema", "json_object")}, "text"),
        ({"json_formats": ()}, "json_object"),
        ({"takes_seed": False, "takes_temperature": False}, "json_schema, no temperature, no seed"),
    ],
)
async def test_a_server_that_writes_json_in_any_way_is_enough(
    complains: Any, takes: dict[str, Any], style: str, written_for: Any
) -> None:
    endpoint = Endpoint(refuses_logprobs=True, complains=complains, prose=FENCED, **takes)
    backend = ChatBackend.in_process(endpoint.app)
    identity = await backend.probe(within=SOON)
    if complains != "without a word":  # which cannot be told from minding something else
        assert identity.style == f"writes: {style}"
    assert identity.model == "foreign"
    assert all("logprobs" not in body for body in endpoint.bodies)
    num_probing = len(endpoint.bodies)
    said = await backend.complete_json(written_for, schema=Answer, within=SOON, max_tokens=200, seed=3)
    assert said.value.answer in {"1", "2"}
    assert len(endpoint.bodies) == num_probing + 1
    await backend.aclose()


async def test_a_server_that_does_not_heed_the_format_is_told_the_schema_however_well_it_does_as_told(
    written_for: Any,
) -> None:
    """It writes bare JSON when words ask for it, as for a label, and that says nothing about schemas."""

    async def heeding_words(body: dict[str, Any]) -> Response:
        asked = str(body["messages"])
        text = "1" if "JSON" not in asked else '```json\n{"answer": "2"}\n```'
        return JSONResponse(completion(content='{"answer": "1"}' if "Write it as JSON" in asked else text))

    backend = ChatBackend.in_process(Endpoint(script=heeding_words).app)
    assert (await backend.probe(within=SOON)).style == "writes: json_object"
    said = await backend.complete_json(written_for, schema=Answer, within=SOON, max_tokens=200)
    assert said.value.answer == "2"
    await backend.aclose()


@pytest.fixture
def written_for() -> tuple[ChatMessage, ...]:
    """A conversation."""
    return (ChatMessage(role=Role.USER, parts=("Which one?",)),)


async def test_it_asks_in_the_length_parameter_of_the_server() -> None:
    endpoint = Endpoint(length_parameter="max_completion_tokens", complains="in prose")
    backend = ChatBackend.in_process(endpoint.app)
    assert (await backend.probe(within=SOON)).style == "writes: json_schema, max_completion_tokens"
    await backend.aclose()


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        (Endpoint(script=writing("The second one.")), FailureType.JUDGE_MALFORMED),
        (Endpoint(script=answering({"error": {"message": "no images"}}, status=400)), FailureType.JUDGE_REFUSED),
        (Endpoint(script=answering({}, status=401)), FailureType.JUDGE_UNAVAILABLE),
        (Endpoint(script=answering({}, status=503)), FailureType.JUDGE_UNAVAILABLE),
        (Endpoint(script=answering({}, status=429)), FailureType.JUDGE_OVERLOADED),
    ],
)
async def test_a_server_that_cannot_write_says_why(endpoint: Endpoint, expected: FailureType) -> None:
    backend = ChatBackend.in_process(endpoint.app)
    with pytest.raises(BackendError) as caught:
        await backend.probe(within=SOON)
    assert caught.value.type is expected
    assert len(endpoint.bodies) <= 7
    with pytest.raises(BackendNotProbedError):
        _ = backend.capability
    await backend.aclose()


async def test_a_model_that_is_not_served_is_named() -> None:
    endpoint = Endpoint(script=answering({"error": {"message": "no such model"}}, status=404))
    backend = ChatBackend.in_process(endpoint.app, model="large")
    with pytest.raises(BackendError, match="the judge has no model 'large'; it serves foreign"):
        await backend.probe(within=SOON)
    await backend.aclose()


async def test_one_that_came_back_is_tried_out_by_writing() -> None:
    endpoint = Endpoint()
    backend = ChatBackend.in_process(endpoint.app)
    await backend.probe(within=SOON)
    endpoint.script = writing("nonsense, but an answer")
    await backend.try_out(within=SOON)
    endpoint.script = answering({}, status=500)
    with pytest.raises(BackendError):
        await backend.try_out(within=SOON)
    await backend.aclose()
