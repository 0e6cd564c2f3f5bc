"""The bytes of a request: JSON like any other, with images encoded once."""

import base64
import json

from hypothesis import given
from hypothesis import strategies as st

from services.judging.chat_messages import ChatMessage, Role, encode_request, messages_of, with_postscript
from services.judging.images import JudgeImage
from services.judging.probe_question import probe_question

TEXTS = st.text()  # hypothesis leaves lone surrogates out, and so does the service's input


@given(TEXTS, TEXTS, TEXTS)
def test_every_text_arrives_as_it_was_written(model: str, system: str, user: str) -> None:
    messages = (ChatMessage(role=Role.SYSTEM, parts=(system,)), ChatMessage(role=Role.USER, parts=(user, "end")))
    decoded = json.loads(encode_request({"model": model, "temperature": 0.0}, messages, with_uuids=False))
    assert decoded == {
        "model": model,
        "temperature": 0.0,
        "messages": [
            {"role": "system", "content": system},
            {"role": "user", "content": [{"type": "text", "text": user}, {"type": "text", "text": "end"}]},
        ],
    }


def test_an_image_travels_as_its_own_bytes_and_its_name_only_where_it_is_wanted(red_circle: JudgeImage) -> None:
    messages = (ChatMessage(role=Role.USER, parts=(red_circle,)),)
    for with_uuids in (True, False):
        [message] = json.loads(encode_request({"model": "m"}, messages, with_uuids=with_uuids))["messages"]
        [part] = message["content"]
        assert base64.b64decode(part["image_url"]["url"].removeprefix("data:image/png;base64,")) == red_circle.png
        assert part.get("uuid") == (red_circle.digest if with_uuids else None)


def test_an_image_is_encoded_once(red_circle: JudgeImage) -> None:
    assert red_circle.data_url is red_circle.data_url


def test_a_postscript_comes_after_the_question() -> None:
    prompt = probe_question()
    system, user = with_postscript(messages_of(prompt), "P. S.")
    assert system.parts == (prompt.system,)
    assert user.parts == (*prompt.parts, "P. S.")
