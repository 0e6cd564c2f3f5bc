"""Conversations whose answer has a given shape, with servers that enforce it and servers that do not."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from services.judging.backend import BackendError, ChatMessage, Role
from services.judging.images import JudgeImage
from shared_schemas.problems import FailureType
from tests.judging.scripted_endpoint import BackendOf, Endpoint, Script, answering, completion

SOON = timedelta(seconds=20)


class Colour(BaseModel):
    """A shape to be asked for."""

    name: str
    shades: tuple[str, ...] = ()


def conversation(image: JudgeImage) -> list[ChatMessage]:
    return [
        ChatMessage(role=Role.SYSTEM, parts=("You name colours.",)),
        ChatMessage(role=Role.USER, parts=("Which colour?", image)),
        ChatMessage(role=Role.ASSISTANT, parts=("Of what?",)),
        ChatMessage(role=Role.USER, parts=("Of the circle.",)),
    ]


def writing(text: str, **choice: Any) -> Script:
    return answering(completion(content=text, **choice))


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
