import json
from collections.abc import Callable
from typing import Any

import httpx2
import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.rubric_worker.job_kinds import JobFailedError
from services.rubric_worker.methods.embedding_server import EmbeddingServer, ServerEmbedder

KEY = "hunter2"


class Endpoint:
    """A server of embeddings: a statement's vector is its number of characters and of blanks."""

    def __init__(self, answer: Callable[[dict[str, Any]], Response] | None = None) -> None:
        self._answer = answer or self.embed
        self.inputs: list[list[str]] = []
        self.keys: list[str | None] = []

    def embed(self, body: dict[str, Any]) -> Response:
        vectors = [[float(len(text)), float(text.count(" "))] for text in body["input"]]
        data = [{"index": index, "embedding": vector} for index, vector in enumerate(vectors)]
        return JSONResponse({"data": data[::-1], "usage": {"total_tokens": 7}})

    @property
    def server(self) -> EmbeddingServer:
        app = Starlette(routes=[Route("/v1/embeddings", self._post, methods=["POST"])])
        transport = httpx2.ASGITransport(app=app)
        return EmbeddingServer(url="http://in-process/v1/", model="small", api_key=KEY, transport=transport)

    async def _post(self, request: Request) -> Response:
        body = json.loads(await request.body())
        assert body["model"] == "small"
        self.inputs.append(body["input"])
        self.keys.append(request.headers.get("Authorization"))
        return self._answer(body)


async def test_every_statement_gets_its_own_vector_and_is_asked_about_once() -> None:
    endpoint, tokens = Endpoint(), list[int]()
    embedder = ServerEmbedder(endpoint.server, spend=tokens.append)
    vectors = await embedder.embed(["abc", "a b ", "abc"])
    assert vectors == pytest.approx(np.array([[1, 0], [4, 2] / np.sqrt(20), [1, 0]]))
    await embedder.embed(["a b ", "new"])
    assert endpoint.inputs == [["abc", "a b "], ["new"]]
    assert (endpoint.keys, tokens) == ([f"Bearer {KEY}"] * 2, [7, 7])


async def test_many_statements_are_sent_in_portions() -> None:
    endpoint = Endpoint()
    await ServerEmbedder(endpoint.server, spend=lambda _: None).embed([f"{n:03}" for n in range(200)])
    assert [len(some) for some in endpoint.inputs] == [128, 72]


async def test_a_server_that_is_busy_is_asked_again() -> None:
    refusals = iter([503, 429])
    endpoint = Endpoint(lambda body: Response(status_code=status) if (status := next(refusals, None)) else ok(body))

    def ok(body: dict[str, Any]) -> Response:
        return endpoint.embed(body)

    vectors = await ServerEmbedder(endpoint.server, spend=lambda _: None).embed(["abc"])
    assert (vectors.shape, len(endpoint.inputs)) == ((1, 2), 3)


def answering(data: Any) -> Callable[[dict[str, Any]], Response]:
    return lambda _body: Response(data if isinstance(data, str) else json.dumps({"data": data}))


@pytest.mark.parametrize(
    "answer",
    [
        lambda _body: Response(status_code=401),
        answering("no JSON"),
        answering([]),
        answering([{"index": 0, "embedding": []}, {"index": 1, "embedding": [1.0]}]),
        answering([{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}]),
        answering([{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}]),
        answering([{"index": 0, "embedding": [0.0]}, {"index": 1, "embedding": [1.0]}]),
        lambda _body: Response(b"no such thing", headers={"Content-Encoding": "gzip"}),
        answering('{"data": [{"index": 0, "embedding": [NaN]}, {"index": 1, "embedding": [1.0]}]}'),
    ],
)
async def test_a_server_of_no_use_ends_the_job_and_is_not_quoted(answer: Callable[[dict[str, Any]], Response]) -> None:
    server = Endpoint(answer).server
    assert KEY not in repr(server)
    with pytest.raises(JobFailedError) as failed:
        await ServerEmbedder(server, spend=lambda _: None).embed(["a", "b"])
    assert failed.value.reason == "chat-unavailable"
    assert KEY not in str(failed.value)
