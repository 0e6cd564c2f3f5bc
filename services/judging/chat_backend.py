"""A server that writes and does not judge: how it can be asked is all that differs from a judge's.

Owns its probe. The one rule: a server that sees images and writes JSON is enough; nobody asks it for log-probs.
"""

import logging
from datetime import timedelta
from http import HTTPStatus

from services.judging.asking import Delivery, JsonQuestion, Way
from services.judging.backend import BackendError, BackendIdentity, OpenAIBackend
from services.judging.chat_json import choice_schema
from services.judging.chat_messages import messages_of
from services.judging.ladder import Capability, Style
from services.judging.manners import Manner, Manners
from services.judging.probe_question import probe_question
from services.judging.probing import not_there

_ROOM = 1024
"""Tokens for `{"answer": "1"}`, and for the thoughts before it."""

_STYLE = Style(capability=Capability.CHOICE, max_tokens=_ROOM)
"""It names a label at most; how it writes is found out by `Manners`."""

_log = logging.getLogger(__name__)


class ChatBackend(OpenAIBackend):
    """A model behind the OpenAI chat API that only writes. `probe()` must have succeeded before it is asked."""

    async def probe(self, *, within: timedelta) -> BackendIdentity:
        """Find out who is there, and have it write a little JSON about two images; `within` bounds each call.

        Raises `BackendError`: a retryable one when the server is away, busy or keeps us out, `judge-refused` when there
        is no such model or it takes no such question, `judge-malformed` when what it writes is no such JSON.
        """
        served = await self._directory.look_up(within=within)
        way, manners = Way(model=served.model, style=_STYLE, label_tokens={}), Manners(Manner())
        try:
            await self._write_something(way, manners, Delivery(within=within, keep_alive=False))
        except BackendError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                raise not_there(error, model=served.model, listed=self._directory.listed) from error
            raise
        self._found, self._manners = way, manners
        manner = manners.current.name
        _log.info("model that writes found", extra={"model": served.model, "asked_with": manner})
        return BackendIdentity(
            model=served.model,
            server_version=served.server_version,
            style=f"writes: {manner}",
            revision=served.revision,
        )

    async def _answer_something(self, delivery: Delivery) -> None:
        await self._write_something(self._way, self._manners, delivery)

    async def _write_something(self, way: Way, manners: Manners, delivery: Delivery) -> None:
        prompt = probe_question()  # asks for a bare label: whoever writes JSON does so because of the format
        schema = choice_schema(prompt.labels)
        question = JsonQuestion(messages=messages_of(prompt), schema=schema, max_tokens=_ROOM, seed=0)
        await self._write(question, way=way, manners=manners, delivery=delivery)
