"""Messages on their way to a judge: what is said, and the bytes of the request that says it.

Owns how text and images travel. Refuses any image address but the data URL that we built ourselves.

The one rule: the bytes of an image are encoded once, however many questions are asked about it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from pydantic_core import to_json

from services.judging.images import JudgeImage
from services.judging.prompts import JudgePrompt, Part


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatMessage:
    """One message; images belong to users."""

    role: Role
    parts: tuple[Part, ...]
    """At least one; text and images in order. A system or assistant message has one text."""


def messages_of(prompt: JudgePrompt) -> tuple[ChatMessage, ...]:
    """A question as a system and a user message."""
    return ChatMessage(role=Role.SYSTEM, parts=(prompt.system,)), ChatMessage(role=Role.USER, parts=prompt.parts)


def with_postscript(messages: tuple[ChatMessage, ...], text: str) -> tuple[ChatMessage, ...]:
    """The same conversation with one more text at its end."""
    last = messages[-1]
    return (*messages[:-1], replace(last, parts=(*last.parts, text)))


def image_digests(messages: Sequence[ChatMessage]) -> frozenset[str]:
    """Digests of all images in a conversation."""
    return frozenset(part.digest for message in messages for part in message.parts if isinstance(part, JudgeImage))


def encode_request(
    parameters: Mapping[str, Any],
    messages: Sequence[ChatMessage],
    *,
    with_uuids: bool,
    names_only: Collection[str] = (),
) -> bytes:
    """The JSON of a chat request. `with_uuids` names each image by its pixel digest, as vLLM's caches want it.

    Of the images in `names_only` the bytes are left out: the server has them.

    The data URLs go in as bytes, all in one copy: looking through a megabyte of base64 for characters to escape costs
    more than all the rest of a request.
    """
    pieces = [to_json(dict(parameters))[:-1], b',"messages":[']
    for message in messages:
        pieces += [*_message_pieces(message, with_uuids=with_uuids, names_only=names_only), b","]
    return b"".join([*pieces[:-1], b"]}"])


def _message_pieces(message: ChatMessage, *, with_uuids: bool, names_only: Collection[str]) -> list[bytes]:
    if message.role is not Role.USER:
        [text] = message.parts
        return [to_json({"role": message.role, "content": text})]
    pieces = [b'{"role":"user","content":[']
    for part in message.parts:
        pieces += [*_part_pieces(part, with_uuids=with_uuids, names_only=names_only), b","]
    return [*pieces[:-1], b"]}"]


def _part_pieces(part: Part, *, with_uuids: bool, names_only: Collection[str]) -> list[bytes]:
    if not isinstance(part, JudgeImage):
        return [to_json({"type": "text", "text": part})]
    uuid = [b',"uuid":', to_json(part.digest)] if with_uuids else []
    if part.digest in names_only:
        return [b'{"type":"image_url","image_url":null', *uuid, b"}"]
    return [b'{"type":"image_url","image_url":{"url":"', part.data_url, b'"}', *uuid, b"}"]
