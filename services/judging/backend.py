"""The judge as a server: any OpenAI-compatible endpoint, over a URL or in process.

Owns what is known of one server: who it is and how it is asked. The wire is `connection`, the way of asking is found by
`probing` and used by `asking`. Refuses to retry, to cache, and to interpret verdicts.

The one rule: what a server can do is found out once, by asking it, never from its name.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Self

from services.judging.answers import Answer
from services.judging.asking import Delivery, JsonQuestion, Way, ask, complete_json
from services.judging.chat_json import BaseModelT, JsonCompletion
from services.judging.chat_messages import ChatMessage, Role
from services.judging.connection import JudgeConnection
from services.judging.failures import BackendError
from services.judging.ladder import Capability
from services.judging.manners import CANNOT, Manner, Manners
from services.judging.probe_question import probe_question
from services.judging.probing import find_way
from services.judging.prompts import JudgePrompt
from services.judging.sent_images import SentImages
from services.judging.served_model import ModelDirectory, ServedModel
from services.judging.server_load import ServerLoad, read_load

__all__ = [
    "BackendError",
    "BackendIdentity",
    "BackendNotProbedError",
    "Capability",
    "ChatMessage",
    "JsonCompletion",
    "OpenAIBackend",
    "Role",
    "ServedModel",
    "ServerLoad",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class BackendIdentity:
    """Who answers, and how it is asked: all that can change an answer besides the prompt."""

    model: str
    """The model id it serves."""
    server_version: str
    """What `GET /version` says (vLLM); empty when the server does not say."""
    style: str
    """The way of asking that it understood."""
    revision: str
    """What `GET /v1/models` says beyond the id that names weights, as JSON; empty when that is nothing."""


class BackendNotProbedError(RuntimeError):
    """`probe()` has not succeeded yet."""


class OpenAIBackend:
    """A judge behind the OpenAI chat API. `probe()` must have succeeded before it is asked anything."""

    def __init__(self, connection: JudgeConnection, *, model: str | None) -> None:
        self._connection = connection
        self._directory = ModelDirectory(connection, wanted=model)
        self._found: Way | None = None
        self._manners = Manners(Manner())
        self._sent_images = SentImages()

    @classmethod
    def over_url(cls, url: str, *, model: str | None = None, api_key: str | None = None) -> Self:
        """A server at `url`, its root or its `…/v1`. Without `model`, the first one it lists."""
        return cls(JudgeConnection(url=url, api_key=api_key, transport=None), model=model)

    @classmethod
    def in_process(cls, app: Any, *, model: str | None = None) -> Self:
        """An ASGI application in this process: the same requests, no socket."""
        return cls(JudgeConnection.in_process(app), model=model)

    @property
    def name(self) -> str:
        """`host:port` or `in-process`: fit for logs and metrics, without anything secret of the URL."""
        return self._connection.name

    @property
    def capability(self) -> Capability:
        """What it can be asked for. Raises `BackendNotProbedError`."""
        return self._way.style.capability

    @property
    def has_log_probs(self) -> bool:
        """Whether its answers carry log-probabilities. Raises `BackendNotProbedError`."""
        return self.capability.has_log_probs

    @property
    def takes_priority(self) -> bool:
        """Whether it orders its queue by the priority of a request. Raises `BackendNotProbedError`."""
        return self._way.takes_priority

    async def probe(self, *, within: timedelta) -> BackendIdentity:
        """Find out who is there and how to ask; `within` bounds each call. May be repeated, while it is being asked.

        Raises `BackendError`: a retryable one when the server is away, busy or keeps us out, `judge-refused` when there
        is no such model or no way of asking it takes, `judge-malformed` when it can be asked but neither gives
        log-probabilities nor writes JSON.
        """
        served = await self._directory.look_up(within=within)
        way = await find_way(self._connection, self._directory, model=served.model, within=within)
        self._found = way
        self._sent_images = SentImages()  # it may have been started anew
        first = Manner(dialect=way.style.dialect)
        self._manners = Manners(replace(first, json_format=way.style.json_format or first.json_format))
        return BackendIdentity(
            model=served.model,
            server_version=served.server_version,
            style=way.style.name,
            revision=served.revision,
        )

    async def try_out(self, *, within: timedelta) -> None:
        """Have it answer a question, whatever it says: raises `BackendError` only where asking again could help.

        A server can say who it is long after what answers questions has died.
        """
        try:
            await self._answer_something(Delivery(within=within))
        except BackendError as error:
            if error.type.is_retryable:
                raise

    async def identify(self, *, within: timedelta) -> ServedModel:
        """Who is there now: two small requests, no judgement; `within` bounds each. Raises `BackendError`."""
        return await self._directory.look_up(within=within)

    async def ask(self, prompt: JudgePrompt, *, within: timedelta, priority: int = 0) -> Answer:
        """One label: a `LabelAnswer`, or a `ChoiceAnswer` from a judge without log-probabilities.

        A lower `priority` is sooner, on servers that order their queue. Raises `BackendError`.
        """
        delivery = Delivery(within=within, priority=priority, sent_images=self._sent_images)
        return await ask(self._connection, self._way, prompt, delivery=delivery)

    async def complete_json(
        self,
        messages: Sequence[ChatMessage],
        *,
        schema: type[BaseModelT],
        within: timedelta,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int | None = None,
        priority: int = 0,
    ) -> JsonCompletion[BaseModelT]:
        """Let it write an answer of the shape `schema`; the last message is the user's.

        What a server refuses (JSON schemas, JSON at all, seeds, temperatures) is left out, from then on; where it does
        not enforce the schema, it is told it in words. Raises `BackendError`: `judge-malformed` for what is cut off at
        `max_tokens` or does not fit, `judge-refused` for a no.
        """
        question = JsonQuestion(
            messages=tuple(messages), schema=schema, max_tokens=max_tokens, temperature=temperature, seed=seed
        )
        delivery = Delivery(within=within, priority=priority, sent_images=self._sent_images)
        return await self._write(question, way=self._way, manners=self._manners, delivery=delivery)

    async def _write(
        self, question: JsonQuestion[BaseModelT], *, way: Way, manners: Manners, delivery: Delivery
    ) -> JsonCompletion[BaseModelT]:
        manner, tried = manners.current, set[Manner]()
        was_refused, unread = False, None
        while True:
            tried.add(manner)
            try:
                said = await complete_json(self._connection, way, question, manner=manner, delivery=delivery)
            except BackendError as error:
                if was_refused and error.took_the_request:
                    manners.took(manner, was_read=False)
                instead = manners.after(manner, error)
                if instead is None or instead in tried:
                    if unread is not None and error.status in CANNOT:
                        raise unread from None  # it heeds formats after all, and had only said something odd
                    raise
                was_refused = error.status is not None
                unread = unread if was_refused else error
                manner = instead
            else:
                manners.took(manner, was_read=True)
                return said

    async def load(self, *, within: timedelta) -> ServerLoad | None:
        """How busy it is by its own account; None when it does not say. Raises `BackendError`."""
        try:
            metrics = await self._connection.metrics(within=within)
        except BackendError as error:
            if error.is_a_no:
                return None
            raise
        return read_load(metrics.decode(errors="replace"))

    async def _answer_something(self, delivery: Delivery) -> None:
        await ask(self._connection, self._way, probe_question(), delivery=delivery)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._connection.aclose()

    @property
    def _way(self) -> Way:
        if self._found is None:
            raise BackendNotProbedError("the judge has not been probed")
        return self._found
