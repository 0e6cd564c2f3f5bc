"""One question to one judge, asked the way it understands.

Owns the body of each kind of request; which way that is, `probing` finds out; answers are read by `label_logprobs` and
`chat_json`. Refuses to retry.

The one rule: what is sent is fixed by the way of asking and the question; nothing else can change an answer.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Generic

from services.judging.answers import Answer, LabelAnswer
from services.judging.chat_json import (
    BaseModelT,
    ChosenLabel,
    JsonCompletion,
    choice_answer,
    choice_in_words,
    choice_schema,
    read_json,
    response_format,
    schema_in_words,
)
from services.judging.chat_messages import ChatMessage, encode_request, image_digests, messages_of, with_postscript
from services.judging.connection import JudgeConnection
from services.judging.failures import BackendError
from services.judging.label_logprobs import LabelTokens, read_labels
from services.judging.ladder import Capability, Style
from services.judging.manners import Manner
from services.judging.prompts import JudgePrompt, Labels
from services.judging.sent_images import SentImages


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """All there is to know to ask one server."""

    model: str
    """The model to name."""
    style: Style
    """The parameters it takes."""
    label_tokens: Mapping[Labels, LabelTokens]
    """Token ids of every pair of labels; used on `LABEL_LOG_PROBS` only, and full there."""
    takes_priority: bool = False
    """Whether a `priority` other than 0 may be sent."""

    @property
    def is_vllm(self) -> bool:
        """Whether it takes what only vLLM takes: token ids of labels, and `uuid`s of images."""
        return self.style.capability is Capability.LABEL_LOG_PROBS


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """How one request travels: nothing here changes an answer."""

    within: timedelta
    """Longest wait for the answer."""
    priority: int = 0
    """Lower is sooner, among the requests of one server."""
    keep_alive: bool = True
    """Whether the connection may be used again."""
    sent_images: SentImages | None = None
    """What the server has seen and may be asked about by name alone; none = every image goes with its bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JsonQuestion(Generic[BaseModelT]):
    """A conversation that ends in an answer of a given shape."""

    messages: tuple[ChatMessage, ...]
    """The last one is the user's."""
    schema: type[BaseModelT]
    """The shape."""
    max_tokens: int
    """Most tokens of the answer, thoughts included."""
    temperature: float = 0.0
    """0 = the likeliest answer; left out where a server fixed its own."""
    seed: int | None = None
    """Of the sampling; left out where a server has none."""


async def ask(connection: JudgeConnection, way: Way, prompt: JudgePrompt, *, delivery: Delivery) -> Answer:
    """Ask for one label: its log-probs, or the bare choice. Raises `BackendError`."""
    if way.style.json_format is None:
        return await _ask_for_log_probs(connection, way, prompt, delivery=delivery)
    question = choice_question(prompt, max_tokens=way.style.max_tokens)
    manner = Manner(json_format=way.style.json_format, dialect=way.style.dialect)
    body = await _have_written(connection, way, question, manner=manner, delivery=delivery)
    return choice_answer(read_json(body, schema=question.schema, among_words=True), labels=prompt.labels)


def choice_question(prompt: JudgePrompt, *, max_tokens: int) -> JsonQuestion[ChosenLabel]:
    """The same question, to be answered with a label written as JSON."""
    return JsonQuestion(
        messages=with_postscript(messages_of(prompt), choice_in_words(prompt.labels)),
        schema=choice_schema(prompt.labels),
        max_tokens=max_tokens,
    )


async def complete_json(
    connection: JudgeConnection,
    way: Way,
    question: JsonQuestion[BaseModelT],
    *,
    manner: Manner,
    delivery: Delivery,
) -> JsonCompletion[BaseModelT]:
    """Ask for an answer of a shape. Raises `BackendError`."""
    body = await _have_written(connection, way, question, manner=manner, delivery=delivery)
    return read_json(body, schema=question.schema, among_words=manner.in_words)


async def _have_written(
    connection: JudgeConnection, way: Way, question: JsonQuestion[Any], *, manner: Manner, delivery: Delivery
) -> bytes:
    schema, messages = question.schema, question.messages
    if manner.in_words:
        messages = with_postscript(messages, schema_in_words(schema))
    parameters: dict[str, Any] = {
        manner.dialect.length_parameter: question.max_tokens,
        **response_format(schema, manner.json_format),
    }
    if manner.dialect.sends_temperature:
        parameters["temperature"] = question.temperature
    if question.seed is not None and manner.sends_seed:
        parameters["seed"] = question.seed
    return await _chat(connection, way, parameters, messages, delivery=delivery)


async def _ask_for_log_probs(
    connection: JudgeConnection, way: Way, prompt: JudgePrompt, *, delivery: Delivery
) -> LabelAnswer:
    parameters: dict[str, Any] = dict(way.style.sampling)
    tokens = None
    if way.is_vllm:
        tokens = way.label_tokens[prompt.labels]
        parameters |= {"allowed_token_ids": tokens.ids, "logprob_token_ids": tokens.ids}
        parameters["return_tokens_as_token_ids"] = True
    body = await _chat(connection, way, parameters, messages_of(prompt), delivery=delivery)
    return read_labels(body, labels=prompt.labels, tokens=tokens)


async def _chat(
    connection: JudgeConnection,
    way: Way,
    parameters: Mapping[str, Any],
    messages: tuple[ChatMessage, ...],
    *,
    delivery: Delivery,
) -> bytes:
    priority = {"priority": delivery.priority} if delivery.priority and way.takes_priority else {}
    parameters = {"model": way.model, **parameters, **priority}
    if way.is_vllm and delivery.sent_images is not None:
        return await _chat_by_name(connection, parameters, messages, sent=delivery.sent_images, delivery=delivery)
    return await _send(connection, encode_request(parameters, messages, with_uuids=way.is_vllm), delivery=delivery)


async def _chat_by_name(
    connection: JudgeConnection,
    parameters: Mapping[str, Any],
    messages: tuple[ChatMessage, ...],
    *,
    sent: SentImages,
    delivery: Delivery,
) -> bytes:
    """Images that the server has seen go by their names; where that is refused, all go with their bytes."""
    digests, start = image_digests(messages), time.monotonic()
    known = sent.known(digests)
    body = encode_request(parameters, messages, with_uuids=True, names_only=known)
    try:
        answer = await _send(connection, body, delivery=delivery)
    except BackendError as error:
        if not known or error.status != HTTPStatus.BAD_REQUEST:
            raise
        left = delivery.within - timedelta(seconds=time.monotonic() - start)
        body = encode_request(parameters, messages, with_uuids=True)
        answer = await _send(connection, body, delivery=replace(delivery, within=max(left, timedelta())))
        sent.missed(known)
    else:
        sent.hit(known)
    sent.answered(digests)
    return answer


async def _send(connection: JudgeConnection, body: bytes, *, delivery: Delivery) -> bytes:
    return await connection.chat(body, within=delivery.within, keep_alive=delivery.keep_alive)
