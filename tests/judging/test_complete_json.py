"""Conversations whose answer has a given shape, with servers that enforce it and servers that do not."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from services.judging.answers import ChoiceAnswer
from services.judging.backend import BackendError, ChatMessage, Role
from services.judging.images import JudgeImage
from services.judging.probe_question import probe_question
from shared_schemas.problems import FailureType
from tests.judging.scripted_endpoint import BackendOf, Endpoint, Script, answering, in_turn, writing

SOON = timedelta(seconds=20)


class Colour(BaseModel):
    """A shape to be asked for."""

    name: str
    shades: tuple[str, ...] = ()


class Answer(BaseModel):
    """What scripted endpoints write."""

    answer: str


def conversation(image: JudgeImage) -> list[ChatMessage]:
    return [
        ChatMessage(role=Role.SYSTEM, parts=("You name colours.",)),
        ChatMessage(role=Role.USER, parts=("Which colour?", image)),
        ChatMessage(role=Role.ASSISTANT, parts=("Of what?",)),
        ChatMessage(role=Role.USER, parts=("Of the circle.",)),
    ]


async def test_json_of_a_given_shape_is_asked_for_and_validated(backend_of: BackendOf, red_circle: JudgeImage) -> None:
    endpoint = Endpoint()
    backend = backend_of(endpoint)
    await backend.probe(within=SOON)
    endpoint.script = writing('{"name": "red", "shades": ["scarlet"]}')
    said = await backend.complete_json(
        conversation(red_circle), schema=Colour, within=SOON, max_tokens=200, temperature=0.7, seed=3
    )
    assert said.value == Colour(name="red", shades=("scarlet",))
    assert (said.prompt_tokens, said.completion_tokens) == (700, 1)
    body = endpoint.bodies[-1]
    assert (body["max_tokens"], body["temperature"], body["seed"]) == (200, 0.7, 3)
    schema = body["response_format"]["json_schema"]
    assert (schema["name"], schema["strict"], schema["schema"]["required"]) == ("Colour", True, ["name", "shades"])
    roles = [(message["role"], type(message["content"]).__name__) for message in body["messages"]]
    assert roles == [("system", "str"), ("user", "list"), ("assistant", "str"), ("user", "list")]


async def test_json_is_asked_for_in_the_dialect_of_the_server(backend_of: BackendOf, red_circle: JudgeImage) -> None:
    endpoint = Endpoint(length_parameter="max_completion_tokens", takes_temperature=False)
    backend = backend_of(endpoint)
    await backend.probe(within=SOON)
    endpoint.script = writing('{"name": "red"}')
    await backend.complete_json(conversation(red_circle), schema=Colour, within=SOON, max_tokens=200)
    body = endpoint.bodies[-1]
    assert body["max_completion_tokens"] == 200
    assert not {"max_tokens", "temperature", "seed"} & set(body)


@pytest.mark.parametrize("refuses_logprobs", [False, True])
async def test_a_server_without_schemas_is_told_the_schema_in_words_from_then_on(
    refuses_logprobs: bool, backend_of: BackendOf, red_circle: JudgeImage
) -> None:
    endpoint = Endpoint(refuses_logprobs=refuses_logprobs, refuses_json=("json_schema",))
    backend = backend_of(endpoint)
    await backend.probe(within=SOON)
    endpoint.bodies.clear()
    for _ in range(2):
        with pytest.raises(BackendError, match="does not fit the schema: missing"):  # it wrote {"answer": "2"}
            await backend.complete_json(conversation(red_circle), schema=Colour, within=SOON, max_tokens=200)
    kinds = [body["response_format"]["type"] for body in endpoint.bodies]
    assert kinds == (["json_object"] * 2 if refuses_logprobs else ["json_schema", "json_object", "json_object"])
    assert '"shades"' in endpoint.bodies[-1]["messages"][-1]["content"][-1]["text"]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (writing('{"name": "red"}', finish_reason="length"), FailureType.JUDGE_MALFORMED),
        (writing('{"name": "re'), FailureType.JUDGE_MALFORMED),
        (writing('{"name": 1}'), FailureType.JUDGE_MALFORMED),
        (writing('{"name": "red", "name": "blue"}'), FailureType.JUDGE_MALFORMED),
        (writing(""), FailureType.JUDGE_MALFORMED),
        (writing("", message={"content": None, "refusal": "No."}), FailureType.JUDGE_REFUSED),
        (writing("", finish_reason="content_filter"), FailureType.JUDGE_REFUSED),
    ],
)
async def test_json_that_is_not_whole_and_of_its_shape_is_a_typed_failure(
    script: Script,
    expected: FailureType,
    backend_of: BackendOf,
    red_circle: JudgeImage,
) -> None:
    endpoint = Endpoint()
    backend = backend_of(endpoint)
    await backend.probe(within=SOON)
    endpoint.script = script
    with pytest.raises(BackendError) as caught:
        await backend.complete_json(conversation(red_circle), schema=Colour, within=SOON, max_tokens=200)
    assert caught.value.type is expected


def sent(body: dict[str, Any]) -> set[str]:
    return set(body) - {"model", "messages"}


@pytest.mark.parametrize("complains", ["by name", "in prose", "without a word"])
@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        (Endpoint(), {"max_tokens", "temperature", "seed", "response_format"}),
        (Endpoint(refuses_json=("json_schema", "json_object")), {"max_tokens", "temperature", "seed"}),
        (
            Endpoint(takes_seed=False, refuses_json=("json_schema", "json_object")),
            {"max_tokens", "temperature"},
        ),
    ],
)
async def test_what_a_server_refuses_is_left_out_from_then_on(
    complains: Any, endpoint: Endpoint, expected: set[str], backend_of: BackendOf, red_circle: JudgeImage
) -> None:
    endpoint = replace(endpoint, complains=complains, bodies=[], prose='{"name": "red"}')
    backend = backend_of(endpoint)
    await backend.probe(within=SOON)
    endpoint.json_formats = ()
    for _ in range(2):
        said = await backend.complete_json(conversation(red_circle), schema=Colour, within=SOON, max_tokens=200, seed=3)
        assert said.value == Colour(name="red")
    assert sent(endpoint.bodies[-1]) == expected
    assert endpoint.bodies[-2] == endpoint.bodies[-1]


@pytest.mark.parametrize("complains", ["by name", "in prose"])
async def test_a_server_that_says_it_minds_the_seed_keeps_the_schema(
    complains: Any, backend_of: BackendOf, red_circle: JudgeImage
) -> None:
    endpoint = Endpoint(takes_seed=False, complains=complains)
    backend = backend_of(endpoint)
    await backend.probe(within=SOON)
    endpoint.label = "1"
    said = await backend.complete_json(
        conversation(red_circle), schema=Answer, within=SOON, max_tokens=200, seed=3, temperature=0.5
    )
    assert said.value.answer == "1"
    assert endpoint.bodies[-1]["response_format"]["type"] == "json_schema"
    assert sent(endpoint.bodies[-1]) == {"max_tokens", "temperature", "response_format"}


async def test_a_server_that_ignores_the_format_is_told_the_schema_in_words(
    backend_of: BackendOf, red_circle: JudgeImage
) -> None:
    endpoint = Endpoint()
    backend = backend_of(endpoint)
    await backend.probe(within=SOON)
    endpoint.bodies.clear()
    endpoint.script = in_turn(writing("A red one."), writing('Sure!\n```json\n{"name": "red"}\n```'))
    for _ in range(2):
        said = await backend.complete_json(conversation(red_circle), schema=Colour, within=SOON, max_tokens=200)
        assert said.value.name == "red"
    words = ["schema" in body["messages"][-1]["content"][-1]["text"] for body in endpoint.bodies]
    assert words == [False, True, True]


async def test_a_server_that_enforces_schemas_is_not_asked_in_words_because_of_one_answer(
    backend_of: BackendOf, red_circle: JudgeImage
) -> None:
    endpoint = Endpoint()
    backend = backend_of(endpoint)
    await backend.probe(within=SOON)
    endpoint.bodies.clear()
    endpoint.script = in_turn(writing('{"name": "red"}'), writing('```{"name": "red"}```'))
    await backend.complete_json(conversation(red_circle), schema=Colour, within=SOON, max_tokens=200)
    with pytest.raises(BackendError) as caught:
        await backend.complete_json(conversation(red_circle), schema=Colour, within=SOON, max_tokens=200)
    assert caught.value.type is FailureType.JUDGE_MALFORMED
    assert [body["response_format"]["type"] for body in endpoint.bodies] == ["json_schema"] * 2


async def test_one_odd_answer_of_a_server_that_takes_nothing_but_schemas_stays_what_it_is(
    backend_of: BackendOf, red_circle: JudgeImage
) -> None:
    endpoint = Endpoint()
    backend = backend_of(endpoint)
    await backend.probe(within=SOON)
    no = answering({"error": {"message": "no"}}, status=400)
    endpoint.script = in_turn(writing("What?"), no, no, no, no, no, writing('{"name": "red"}'))
    with pytest.raises(BackendError) as caught:
        await backend.complete_json(conversation(red_circle), schema=Colour, within=SOON, max_tokens=200, seed=3)
    assert caught.value.type is FailureType.JUDGE_MALFORMED
    said = await backend.complete_json(conversation(red_circle), schema=Colour, within=SOON, max_tokens=200, seed=3)
    assert said.value.name == "red"
    assert endpoint.bodies[-1]["response_format"]["type"] == "json_schema"


async def test_a_question_that_is_refused_for_itself_is_asked_once(
    backend_of: BackendOf, red_circle: JudgeImage
) -> None:
    endpoint = Endpoint()
    backend = backend_of(endpoint)
    await backend.probe(within=SOON)
    endpoint.bodies.clear()
    error = {"message": "too long", "param": "input_tokens", "code": 400}
    endpoint.script = answering({"error": error}, status=400)
    with pytest.raises(BackendError) as caught:
        await backend.complete_json(conversation(red_circle), schema=Colour, within=SOON, max_tokens=200, seed=3)
    assert caught.value.detail == "the judge refused the request (HTTP 400: input_tokens)"
    assert len(endpoint.bodies) == 1


FENCED_VERDICT = 'The second one.\n```json\n{"answer": "2"}\n```'


@pytest.mark.parametrize("complains", ["by name", "in prose", "without a word"])
@pytest.mark.parametrize(
    ("endpoint", "style"),
    [
        (Endpoint(most_top_logprobs=0, json_formats=()), "json_schema, 64 tokens"),
        (Endpoint(refuses_logprobs=True, refuses_json=("json_schema",), json_formats=()), "json_object, 64 tokens"),
        (Endpoint(refuses_logprobs=True, refuses_json=("json_schema", "json_object")), "text, 64 tokens"),
    ],
)
async def test_a_verdict_may_stand_among_words_where_nothing_enforces_json(
    complains: Any, endpoint: Endpoint, style: str, backend_of: BackendOf
) -> None:
    backend = backend_of(replace(endpoint, complains=complains, bodies=[], prose=FENCED_VERDICT))
    assert (await backend.probe(within=SOON)).style == style
    answer = await backend.ask(probe_question(), within=SOON)
    assert isinstance(answer, ChoiceAnswer)
    assert not answer.chose_first


@pytest.mark.parametrize(
    "text",
    [
        "1",
        'Well: {"answer": 1}',
        'Well: {"answer": "3"}',
        '{"answer": "1", "sure": true}',
        'Either {"answer": "1"} or {"answer": "2"}.',
        '{"answer": "1", "answer": "2"}',
        '<think>{"answer": "1"}',
    ],
)
async def test_what_a_written_verdict_says_is_read_strictly(text: str, backend_of: BackendOf) -> None:
    endpoint = Endpoint(most_top_logprobs=0, json_formats=("json_object",))
    backend = backend_of(endpoint)
    await backend.probe(within=SOON)
    endpoint.script = writing(text)
    with pytest.raises(BackendError) as caught:
        await backend.ask(probe_question(), within=SOON)
    assert caught.value.type is FailureType.JUDGE_MALFORMED
