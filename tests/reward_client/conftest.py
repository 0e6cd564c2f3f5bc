import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from reward_client import AsyncRewardClient, RewardClient
from services.reward_api.app import create_app
from services.reward_api.settings import Settings
from shared_schemas.rubrics import Criterion, RubricContent, Task


@pytest.fixture
def content() -> RubricContent:
    return RubricContent(task=Task.T2I, criteria=(Criterion(id="colour", theme="The colour named in the prompt"),))


@pytest.fixture
def client(tmp_path: Path, serve: Callable[[ASGIApp], str], content: RubricContent) -> Iterator[RewardClient]:
    """The blocking client on a real service with the pixel judge and one rubric set: `colours`."""
    with RewardClient(serve(create_app(Settings(data_dir=tmp_path)))) as client:
        client.publish_rubric("colours", content, {"author": "test"})
        yield client


@pytest.fixture
async def async_client(tmp_path: Path, content: RubricContent) -> AsyncIterator[AsyncRewardClient]:
    """The asyncio client on the same service in process: httpx's transport is the seam."""
    app = create_app(Settings(data_dir=tmp_path))
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "state": dict(state or {})}, receive, send)

        async with AsyncRewardClient("http://localhost", transport=httpx.ASGITransport(with_state)) as client:
            await client.publish_rubric("colours", content, {"author": "test"})
            yield client


@dataclass
class ScriptedService:
    """Answers `GET /rubrics/x` with the scripted responses one after the other; the last one repeats."""

    script: list[Response]
    times: list[float] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await Starlette(routes=[Route("/rubrics/x", self._answer)])(scope, receive, send)

    async def _answer(self, _request: Request) -> Response:
        self.times.append(time.monotonic())
        return self.script[min(len(self.times), len(self.script)) - 1]


SUMMARY = {
    "name": "x",
    "latest": 1,
    "digest": "sha256:" + "0" * 64,
    "task": "t2i",
    "mode": "pairwise",
    "num_criteria": 0,
    "aliases": {},
    "field_of_a_newer_server": True,
}


@pytest.fixture
def scripted() -> Callable[..., ScriptedService]:
    """A service that answers `GET /rubrics/x` by script: `(status, headers)` pairs; 200 is a proper answer."""

    def make(*answers: tuple[int, dict[str, str]]) -> ScriptedService:
        script = [
            JSONResponse(SUMMARY if status == 200 else {"oops": True}, status_code=status, headers=headers)
            for status, headers in answers
        ]
        return ScriptedService(script=list(script))

    return make
