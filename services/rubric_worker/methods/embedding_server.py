"""Statements as vectors from a server: `POST …/embeddings` as OpenAI's API has it.

Owns the wire to it. The one rule: what it sends is checked for number, shape and finiteness before anything is computed
from it, and what goes wrong ends the job with a sentence that repeats neither key nor body.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated

import httpx2
import numpy as np
import stamina
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.rubric_worker.job_kinds import JobFailedError
from services.rubric_worker.methods.embeddings import Matrix, unit_rows
from shared_schemas.learning import LearnFailure

_AT_ONCE = 128
"""Statements of one request: servers take from 96 to 2048."""

_TRIES = 4
_TIMEOUT = timedelta(seconds=60)

_Number = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingServer:
    """Where statements are made into vectors."""

    url: str
    """Base URL, such as `https://host/v1`."""
    model: str
    """Model to ask for."""
    api_key: str | None = field(default=None, repr=False)
    """Bearer token."""
    transport: httpx2.AsyncBaseTransport | None = field(default=None, repr=False)
    """Another way there than over the network, such as an application in this process."""


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Vector(_Wire):
    index: int
    embedding: tuple[_Number, ...] = Field(min_length=1)


class _Usage(_Wire):
    total_tokens: int = Field(default=0, ge=0)


class _Answer(_Wire):
    data: tuple[_Vector, ...]
    usage: _Usage = _Usage()


class _BusyError(Exception):
    """The server may answer later."""


class ServerEmbedder:
    """Asks a server, each statement once."""

    def __init__(self, server: EmbeddingServer, *, spend: Callable[[int], None]) -> None:
        """`spend` is told the tokens of every call."""
        self._server = server
        self._spend = spend
        self._known: dict[str, tuple[float, ...]] = {}

    async def embed(self, statements: Sequence[str]) -> Matrix:
        """[n, d] rows of unit length. Raises `JobFailedError` (`chat-unavailable`) when there are none to be had."""
        new = [statement for statement in dict.fromkeys(statements) if statement not in self._known]
        headers = {"Authorization": f"Bearer {self._server.api_key}"} if self._server.api_key else {}
        async with httpx2.AsyncClient(
            transport=self._server.transport, headers=headers, timeout=_TIMEOUT.total_seconds()
        ) as client:
            for start in range(0, len(new), _AT_ONCE):
                some = new[start : start + _AT_ONCE]
                self._known.update(zip(some, await self._ask_patiently(client, some), strict=True))
        vectors = [self._known[statement] for statement in statements]
        if len({len(vector) for vector in vectors}) > 1:
            raise _unusable("its vectors differ in length")
        rows = unit_rows(np.array(vectors, dtype=np.float64))
        if not np.allclose(np.linalg.norm(rows, axis=1), 1):
            raise _unusable("a vector of it has no direction")
        return rows

    async def _ask_patiently(
        self, client: httpx2.AsyncClient, statements: Sequence[str]
    ) -> Sequence[tuple[float, ...]]:
        try:
            async for attempt in stamina.retry_context(on=(httpx2.TransportError, _BusyError), attempts=_TRIES):
                with attempt:
                    return await self._ask(client, statements)
        except httpx2.RequestError:
            raise _unusable("it cannot be reached") from None
        except _BusyError as error:
            raise _unusable(str(error)) from None
        raise AssertionError("unreachable")

    async def _ask(self, client: httpx2.AsyncClient, statements: Sequence[str]) -> Sequence[tuple[float, ...]]:
        url = f"{self._server.url.rstrip('/')}/embeddings"
        response = await client.post(url, json={"model": self._server.model, "input": list(statements)})
        if response.status_code == HTTPStatus.TOO_MANY_REQUESTS or httpx2.codes.is_server_error(response.status_code):
            raise _BusyError(f"it answered HTTP {response.status_code}")
        if not response.is_success:
            raise _unusable(f"it answered HTTP {response.status_code}")
        try:
            answer = _Answer.model_validate_json(response.content)
        except ValidationError:
            raise _unusable("its answer does not fit the API") from None
        self._spend(answer.usage.total_tokens)
        vectors = {vector.index: vector.embedding for vector in answer.data}
        if set(vectors) != set(range(len(statements))):
            raise _unusable("it did not answer for every statement")
        return [vectors[index] for index in range(len(statements))]


def _unusable(why: str) -> JobFailedError:
    detail = f"the server of embeddings is of no use: {why}; see to that, or ask for the embedding `tfidf`"
    return JobFailedError(LearnFailure.CHAT_UNAVAILABLE, detail)


def not_configured() -> JobFailedError:
    """Why a job ends that wants a server of embeddings where there is none."""
    return _unusable("none is configured (ARR_EMBEDDINGS_URL, ARR_EMBEDDINGS_MODEL)")
