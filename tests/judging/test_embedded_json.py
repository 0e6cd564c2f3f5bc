"""Finding the one answer among other words, and nothing that is none."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from services.judging.chat_json import read_json
from services.judging.embedded_json import find_objects
from services.judging.failures import BackendError
from shared_schemas.problems import FailureType
from tests.judging.scripted_endpoint import completion


class Colour(BaseModel):
    """A shape to be asked for."""

    name: str
    depth: int


RED = '{"name": "red", "depth": 3}'


def read(text: str, *, among_words: bool = True) -> Colour:
    body = json.dumps(completion(content=text)).encode()
    return read_json(body, schema=Colour, among_words=among_words).value


@pytest.mark.parametrize(
    "text",
    [
        RED,
        f"```json\n{RED}\n```",
        f"```\n{RED}\n```\nI hope this helps.",
        f"Here you are: {RED}",
        f"{RED} – a warm colour {{as one says}}.",
        f'<think>Perhaps {{"name": "blue", "depth": 1}}? No.</think>\n{RED}',
        f'It is {{"name": "blue", "depth": 1}}?</think>{RED}',
        f'As [1] says, {{"note": 1}} and [2, {{"a": 1}}] aside: {RED}',
        f'Twice the same key makes none: {{"a": 1, "a": {RED}}} but {RED}',
    ],
)
def test_the_one_object_of_the_shape_is_found(text: str) -> None:
    assert read(text) == Colour(name="red", depth=3)


@pytest.mark.parametrize(
    "text",
    [
        "red",
        f"{RED}\n{RED}",
        f'{RED} or {{"name": "blue", "depth": 1}}',
        'Sure: {"name": "red"}',
        'Sure: {"name": "red", "depth": "3"}',
        'Sure: {"name": "red", "depth": 3.5}',
        'Sure: {"name": "red", "depth": 3, "shade": "dark"}',
        'Sure: {"name": "red", "depth": 3, "depth": 4}',
        f"Sure: [{RED}]",
        f'Sure: {{"answer": {RED}}}',
        f'Sure: {{"a": 1, "a": {RED}}}',
        "Sure: {'name': 'red', 'depth': 3}",
        'Sure: {"name": "red", "depth": 3',
        f"<think>I would say {RED}",
        f"Sure: {'[' * 100_000}{RED}",
        f"Sure: {'x' * 200_000}{RED}",
    ],
)
def test_what_is_not_exactly_one_such_object_is_malformed(text: str) -> None:
    with pytest.raises(BackendError) as caught:
        read(text)
    assert caught.value.type is FailureType.JUDGE_MALFORMED
    assert "red" not in caught.value.detail


@pytest.mark.parametrize("text", [f"```json\n{RED}\n```", f"Here you are: {RED}", f"<think></think>{RED}"])
def test_where_the_schema_is_enforced_nothing_may_stand_around_the_answer(text: str) -> None:
    with pytest.raises(BackendError):
        read(text, among_words=False)


@pytest.mark.parametrize("text", ['{"name": "red", "depth": "3"}', '{"name": "red", "depth": 3, "shade": "dark"}'])
def test_types_and_keys_are_exact_where_the_schema_is_enforced_too(text: str) -> None:
    with pytest.raises(BackendError, match="does not fit the schema"):
        read(text, among_words=False)


TEXTS = st.text(alphabet=st.characters(exclude_characters="<"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
WORDS = st.text(alphabet=st.characters(exclude_characters='{[<"'), max_size=20)


@given(objects=st.lists(st.dictionaries(TEXTS, VALUES, max_size=4), max_size=4), words=WORDS)
def test_every_object_between_words_is_found_as_it_is(objects: list[dict[str, object]], words: str) -> None:
    text = "".join(f"{words} {json.dumps(one)}" for one in objects)
    assert [json.loads(found) for found in find_objects(text)] == objects


@given(st.text(alphabet='{}[]":,a1\\ </think>', max_size=60))
def test_any_text_is_searched_without_harm(text: str) -> None:
    for found in find_objects(text):
        assert isinstance(json.loads(found), dict)
