"""Who a server says it is: its model list and its version.

Owns what of that names weights, hence can change an answer. The one rule: nothing that changes from request to request
(`created`) is part of it.
"""

import json
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from services.judging.connection import JudgeConnection
from services.judging.failures import BackendError, malformed

_NO_SUCH_ROUTE = {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}


@dataclass(frozen=True, kw_only=True, slots=True)
class ServedModel:
    """What answers behind a URL."""

    model: str
    """The model id."""
    server_version: str
    """What `GET /version` says (vLLM); empty when the server does not say."""
    revision: str
    """What `GET /v1/models` says of the model beyond its id, as JSON; empty when that is nothing."""


class ModelDirectory:
    """Asks one server who it is.

    Not every server has these routes: one that never answered may say no however it likes. One that did answer must
    answer again, or be gone for good: else a proxy's 503 would look like another server.
    """

    def __init__(self, connection: JudgeConnection, *, wanted: str | None) -> None:
        """`wanted`: the model to ask for; without it, the first one listed, so that there must be a list."""
        self._connection = connection
        self._wanted = wanted
        self._must_list = wanted is None
        self._must_tell_version = False
        self.listed: tuple[str, ...] = ()
        """Ids in the last list that was read."""

    async def look_up(self, *, within: timedelta) -> ServedModel:
        """Who is there now; `within` bounds each call. Raises `BackendError`."""
        cards = _read_models(await _body(self._connection.models(within=within), must_answer=self._must_list))
        version = _read_version(
            await _body(self._connection.version(within=within), must_answer=self._must_tell_version)
        )
        self._must_list = self._must_list or bool(cards)
        self._must_tell_version = self._must_tell_version or bool(version)
        self.listed = tuple(card.id for card in cards)
        if self._wanted is None and not cards:
            raise malformed("it lists no models; its URL is wrong, or the model must be named in the settings")
        model = self._wanted or cards[0].id
        revision = next((card.revision for card in cards if card.id == model), "")
        return ServedModel(model=model, server_version=version, revision=revision)


async def _body(call: Awaitable[bytes], *, must_answer: bool) -> bytes:
    """What a route answers; nothing where there is no such route."""
    try:
        return await call
    except BackendError as error:
        if error.status in _NO_SUCH_ROUTE or (error.is_a_no and not must_answer):
            return b""
        raise


class _ModelCard(BaseModel):
    """One entry of `GET /v1/models`; vLLM's extra fields name the weights and how much of a prompt fits."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    root: JsonValue = None
    parent: JsonValue = None
    max_model_len: JsonValue = None

    @property
    def revision(self) -> str:
        given = self.model_dump(exclude={"id"}, exclude_none=True)
        return json.dumps(given, sort_keys=True) if given else ""


class _Models(BaseModel):
    data: tuple[_ModelCard, ...] = Field(min_length=1)


class _Version(BaseModel):
    version: str


def _read_models(body: bytes) -> tuple[_ModelCard, ...]:
    """The models listed, in the server's order; none for a body that is no such list."""
    try:
        return _Models.model_validate_json(body).data
    except ValidationError:
        return ()


def _read_version(body: bytes) -> str:
    """The version, or an empty text for a body that has none."""
    try:
        return _Version.model_validate_json(body).version
    except ValidationError:
        return ""
