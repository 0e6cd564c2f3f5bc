"""Chat keys: everything that can change an answer is in them, and nothing else."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from services.judging.backend import BackendIdentity
from services.judging.chat_keys import Sampling, chat_fingerprint, chat_key
from services.judging.chat_messages import ChatMessage, Role
from services.judging.images import JudgeImage

SERVER = BackendIdentity(model="m", server_version="1", style="writes: json_schema", revision="r")
SAMPLING = Sampling(seed=0, temperature=0.0, max_tokens=2048)


class Colour(BaseModel):
    """A shape."""

    name: str


class Shade(BaseModel):
    """Another shape."""

    name: str


def said(*parts: str | JudgeImage, role: Role = Role.USER) -> ChatMessage:
    return ChatMessage(role=role, parts=parts)


def key(
    *messages: ChatMessage,
    fingerprint: str = "f",
    schema: type[BaseModel] = Colour,
    sampling: Sampling = SAMPLING,
    scope: str = "me",
) -> str:
    return chat_key(fingerprint, messages, schema=schema, sampling=sampling, scope=scope)


def test_every_ingredient_is_in_the_key(red_circle: JudgeImage, blue_square: JudgeImage) -> None:
    asked = said("Which?", red_circle)
    keys = [
        key(asked),
        key(asked, fingerprint="g"),
        key(asked, schema=Shade),
        key(asked, scope="you"),
        *(key(asked, sampling=replace(SAMPLING, **other)) for other in ({"seed": 1}, {"max_tokens": 9})),
        key(asked, sampling=replace(SAMPLING, temperature=0.1)),
        key(said("Which?", blue_square)),
        key(said("Which?", red_circle.digest)),
        key(said(red_circle, "Which?")),
        key(said("Which", "?", red_circle)),
        key(said("Which?", role=Role.SYSTEM), said(red_circle)),
        key(said("Which?", role=Role.ASSISTANT), said(red_circle)),
        key(said("Which?"), said(red_circle)),
        key(asked, asked),
    ]
    assert len(set(keys)) == len(keys)
    assert all(one.startswith("sha256:") for one in keys)


def test_how_an_image_is_packed_is_not_in_the_key(red_circle: JudgeImage) -> None:
    assert key(said(red_circle)) == key(said(replace(red_circle, png=b"other bytes")))


@pytest.mark.parametrize("name", ["model", "server_version", "style", "revision"])
def test_every_property_of_the_server_is_in_the_fingerprint(name: str) -> None:
    assert chat_fingerprint(replace(SERVER, **{name: "another"})) != chat_fingerprint(SERVER)


@given(parts=st.lists(st.text(min_size=1), min_size=1, max_size=4), others=st.lists(st.text(min_size=1), max_size=4))
def test_different_texts_have_different_keys(parts: list[str], others: list[str]) -> None:
    assert (key(said(*parts)) == key(said(*others))) == (parts == others)


def test_a_whole_number_and_its_float_are_one_temperature() -> None:
    asked = said("Which?")
    assert key(asked, sampling=replace(SAMPLING, temperature=0)) == key(asked)
