"""Every kind of server we know is asked in the most telling way it understands; no other answer becomes a number."""

import math
from datetime import timedelta
from typing import Any

import pytest
from starlette.responses import Response

from services.judging.answers import ChoiceAnswer, LabelAnswer
from services.judging.backend import BackendError, BackendNotProbedError
from services.judging.images import JudgeImage
from services.judging.probe_question import probe_question
from services.judging.prompts import JudgePrompt, criterion_prompt
from shared_schemas.problems import FailureType
from shared_schemas.rubrics import RubricContent
from tests.judging.scripted_endpoint import BackendOf, Endpoint, answering, completion

SOON = timedelta(seconds=20)


@pytest.fixture
def yes_no(red_circle: JudgeImage, rubric: RubricContent) -> JudgePrompt:
    return criterion_prompt("a red circle", red_circle, source=None, criterion=rubric.criteria[0], rubric=rubric)


KINDS: dict[str, tuple[Endpoint, str, int]] = {
    "vLLM": (Endpoint(tokenizes=True), "logprob_token_ids", 2),
    "twenty log-probs": (Endpoint(), "top_logprobs=20", 1),
    "five log-probs": (Endpoint(most_top_logprobs=5), "top_logprobs=5", 2),
    "five, said in prose": (Endpoint(most_top_logprobs=5, complains="in prose"), "top_logprobs=5", 2),
    "five, unsaid": (Endpoint(most_top_logprobs=5, complains="without a word"), "top_logprobs=5", 5),
    "renamed": (
        Endpoint(length_parameter="max_completion_tokens"),
        "top_logprobs=20, max_completion_tokens",
        2,
    ),
    "fixed temperature": (Endpoint(takes_temperature=False), "top_logprobs=20, no temperature", 2),
    "renamed and fixed": (
        Endpoint(length_parameter="max_completion_tokens", takes_temperature=False, complains="in prose"),
        "top_logprobs=20, max_completion_tokens, no temperature",
        3,
    ),
    "renamed and fixed, unsaid": (
        Endpoint(length_parameter="max_completion_tokens", takes_temperature=False, complains="without a word"),
        "top_logprobs=20, max_completion_tokens, no temperature",
        4,
    ),
    "renamed and fixed, five, unsaid": (
        Endpoint("max_completion_tokens", takes_temperature=False, most_top_logprobs=5, complains="without a word"),
        "top_logprobs=5, max_completion_tokens, no temperature",
        8,
    ),
    "no log-probs": (Endpoint(most_top_logprobs=0), "json_schema, 64 tokens", 3),
    "log-probs refused": (Endpoint(refuses_logprobs=True), "json_schema, 64 tokens", 2),
    "log-probs refused, unsaid": (
        Endpoint(refuses_logprobs=True, complains="without a word"),
        "json_schema, 64 tokens",
        9,
    ),
    "thinks first": (
        Endpoint(
            "max_completion_tokens",
            takes_temperature=False,
            refuses_logprobs=True,
            thinks_for=500,
        ),
        "json_schema, 1024 tokens, max_completion_tokens, no temperature",
        6,
    ),
    "thinks first, or not at all": (
        Endpoint(refuses_logprobs=True, thinks_for=500, refuses_little_room=True),
        "json_schema, 1024 tokens",
        13,
    ),
    "JSON mode only": (
        Endpoint(refuses_logprobs=True, refuses_json=("json_schema",), json_formats=("json_object",)),
        "json_object, 64 tokens",
        3,
    ),
    "JSON mode only, schemas ignored": (
        Endpoint(most_top_logprobs=0, json_formats=("json_object",)),
        "json_object, 64 tokens",
        4,
    ),
}


@pytest.mark.parametrize(("endpoint", "style", "num_questions"), KINDS.values(), ids=KINDS.keys())
async def test_every_kind_of_server_is_asked_in_the_most_telling_way_it_takes(
    endpoint: Endpoint, style: str, num_questions: int, backend_of: BackendOf, yes_no: JudgePrompt
) -> None:
    endpoint.bodies.clear()
    backend = backend_of(endpoint)
    identity = await backend.probe(within=SOON)
    assert (identity.style, len(endpoint.bodies)) == (style, num_questions)
    pair = await backend.ask(probe_question(), within=SOON)
    endpoint.label = "no"
    criterion = await backend.ask(yes_no, within=SOON)
    endpoint.label = "2"
    if backend.has_log_probs:
        # "1" and " 1" both spell the first label; "Yes" and "yes" spell one too, and " no" the other.
        assert isinstance(pair, LabelAnswer)
        assert pair.log_odds == pytest.approx(math.log(math.exp(-0.3) + math.exp(-3)) + 2)
        assert isinstance(criterion, LabelAnswer)
        log_yes = math.log(math.exp(-5) + math.exp(-6)) if "=5" not in style else -5.0
        assert criterion.log_odds == pytest.approx(log_yes + 4.5)
    else:
        assert isinstance(pair, ChoiceAnswer)
        assert isinstance(criterion, ChoiceAnswer)
        assert not pair.chose_first
        assert not criterion.chose_first
    assert (pair.prompt_tokens, pair.completion_tokens) == (700, 1)


async def test_a_server_that_gives_neither_log_probs_nor_json_is_refused_with_what_is_missing(
    backend_of: BackendOf,
) -> None:
    endpoint = Endpoint(refuses_logprobs=True, json_formats=(), refuses_json=("json_object",))
    with pytest.raises(BackendError) as caught:
        await backend_of(endpoint).probe(within=SOON)
    assert caught.value.type is FailureType.JUDGE_MALFORMED
    assert caught.value.detail == (
        "'foreign' can be asked in no way: top-log-probs: the judge refused the request (HTTP 400: logprobs); "
        "choice: the judge cannot be understood: its answer does not fit the schema: json_invalid"
    )


async def test_nothing_can_be_asked_before_the_probe(backend_of: BackendOf) -> None:
    backend = backend_of(Endpoint())
    with pytest.raises(BackendNotProbedError):
        await backend.ask(probe_question(), within=SOON)
    with pytest.raises(BackendNotProbedError):
        _ = backend.capability


async def test_a_server_that_fails_once_is_not_taken_for_a_lesser_one(backend_of: BackendOf) -> None:
    endpoint = Endpoint(tokenizes=True)

    async def fail_once(_: dict[str, Any]) -> Response:
        endpoint.script = None
        return Response("Internal Server Error", 500)

    endpoint.script = fail_once
    assert (await backend_of(endpoint).probe(within=SOON)).style == "logprob_token_ids"


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
async def test_a_server_that_is_busy_for_one_question_is_probed_again_from_the_start(
    status: int, backend_of: BackendOf
) -> None:
    endpoint = Endpoint(tokenizes=True)

    async def be_busy_once(_: dict[str, Any]) -> Response:
        endpoint.script = None
        return Response("later", status)

    endpoint.script = be_busy_once
    backend = backend_of(endpoint)
    with pytest.raises(BackendError) as caught:
        await backend.probe(within=SOON)
    assert caught.value.is_passing
    assert (await backend.probe(within=SOON)).style == "logprob_token_ids"


async def test_a_server_that_returns_the_chosen_token_alone_has_no_log_odds(backend_of: BackendOf) -> None:
    endpoint = Endpoint()

    endpoint.script = answering(completion(top=[("1", -0.1)]))
    with pytest.raises(BackendError, match="its answer lacks the log-probabilities of the labels") as caught:
        await backend_of(endpoint).probe(within=SOON)
    assert caught.value.type is FailureType.JUDGE_MALFORMED


async def test_one_token_is_asked_for_at_temperature_zero_with_data_urls_only(backend_of: BackendOf) -> None:
    endpoint = Endpoint()
    backend = backend_of(endpoint)
    await backend.probe(within=SOON)
    await backend.ask(probe_question(), within=SOON, priority=2)
    body = endpoint.bodies[-1]
    assert (body["max_tokens"], body["temperature"], body["logprobs"], body["top_logprobs"]) == (1, 0, True, 20)
    assert "priority" not in body
    system, user = body["messages"]
    assert system["role"] == "system"
    images = [part for part in user["content"] if part["type"] == "image_url"]
    assert len(images) == 2
    assert all(image["image_url"]["url"].startswith("data:image/png;base64,") for image in images)
    assert not any("uuid" in image for image in images)


async def test_a_choice_is_asked_for_with_a_schema_of_its_labels_and_in_words(
    backend_of: BackendOf, yes_no: JudgePrompt
) -> None:
    endpoint = Endpoint(refuses_logprobs=True, label="no")
    backend = backend_of(endpoint)
    endpoint.label = "2"
    await backend.probe(within=SOON)
    endpoint.label = "no"
    await backend.ask(yes_no, within=SOON)
    body = endpoint.bodies[-1]
    schema = body["response_format"]["json_schema"]
    assert schema["strict"] is True
    assert schema["schema"]["properties"]["answer"]["enum"] == ["yes", "no"]
    assert (schema["schema"]["required"], schema["schema"]["additionalProperties"]) == (["answer"], False)
    assert body["messages"][-1]["content"][-1]["text"] == 'Write it as JSON: {"answer": "yes"} or {"answer": "no"}.'
    assert "logprobs" not in body
