"""The reward service over real HTTP, with keys, and an ear for the secrets that it must not tell."""

import asyncio
import json
import logging
import re
import secrets
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from services.reward_api.api_keys import KeyFile
from services.reward_api.app import create_app
from services.reward_api.settings import Settings
from shared_schemas.access import Scope
from tests.reliability.questions import RUBRIC, Batch

_ONE_START_AT_A_TIME = threading.Lock()
"""Alembic migrates one database per process at a time."""


class Ear(logging.Handler):
    """Hears everything that is logged and answered; remembers where a secret was told."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.secrets: list[str] = []
        self.leaks: list[str] = []
        self.num_heard = 0

    def new_secret(self) -> str:
        self.secrets.append(f"canary-{secrets.token_urlsafe(16)}")
        return self.secrets[-1]

    def emit(self, record: logging.LogRecord) -> None:
        self._hear(f"{record.getMessage()} {vars(record)}", where=f"log of {record.name}")

    async def hear_answer(self, answer: httpx.Response) -> None:
        content = (await answer.aread()).decode("latin-1")
        self._hear(f"{content} {answer.headers}", where=f"answer of {answer.request.url.path}")

    def _hear(self, text: str, *, where: str) -> None:
        self.num_heard += 1
        self.leaks += [where for secret in self.secrets if secret in text]


@dataclass
class Service:
    """A running service."""

    url: str
    admin: httpx.AsyncClient
    tenants: list[httpx.AsyncClient] = field(default_factory=list)

    async def ask(self, batch: Batch, *, tenant: int = 0, **meta: Any) -> httpx.Response:
        """Ask for the rewards of a batch."""
        body = json.dumps({"rubric": "light", "groups": batch.groups, **meta})
        files: list[Any] = [("meta", ("meta.json", body, "application/json"))]
        files += [(name, (f"{name}.png", png, "image/png")) for name, png in batch.images.items()]
        return await self.tenants[tenant].post("/reward", files=files)

    async def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        text = (await self.admin.get("/metrics")).text
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE))

    async def until_metric(self, name: str, least: float, *, within_seconds: float = 20.0) -> None:
        """Wait until a metric is at least so much."""
        async with asyncio.timeout(within_seconds):
            while await self.metric(name) < least:  # noqa: ASYNC110 - it changes on another thread
                await asyncio.sleep(0.02)


def _started(server: AbstractContextManager[str]) -> str:
    with _ONE_START_AT_A_TIME:
        return server.__enter__()


@asynccontextmanager
async def service_running(
    serving: Callable[..., AbstractContextManager[str]],
    folder: Path,
    ear: Ear,
    *judge_urls: str,
    num_tenants: int = 1,
    **settings: Any,
) -> AsyncIterator[Service]:
    """The service before these judges, with a rubric set, on a thread of its own."""
    keys = KeyFile(folder / "keys.json")
    tokens = [keys.add(f"tenant-{number}", tenant=f"tenant-{number}", scopes=[Scope.REWARD])[1]
              for number in range(num_tenants)]  # fmt: skip
    admin_token = keys.add("admin", tenant="admin", scopes=[Scope.ADMIN])[1]
    ear.secrets += [token[-43:] for token in (*tokens, admin_token)]
    values: dict[str, Any] = {
        "data_dir": folder / "data",
        "judge_urls": judge_urls,
        "judge_api_key": ear.new_secret(),
        "api_keys": keys.path,
        "canary_seconds": 0.0,  # whose calls would be counted with the test's
    }
    app = create_app(Settings(**values | settings))
    async with AsyncExitStack() as stack:
        server = serving(app)
        url = await asyncio.to_thread(_started, server)  # its judge may live on this very event loop
        stack.push_async_callback(asyncio.to_thread, server.__exit__, None, None, None)

        async def client_of(token: str) -> httpx.AsyncClient:
            client = httpx.AsyncClient(
                base_url=url,
                headers={"Authorization": f"Bearer {token}"},
                event_hooks={"response": [ear.hear_answer]},
                timeout=60.0,
                limits=httpx.Limits(
                    keepalive_expiry=2.0
                ),  # the service hangs up after 5 s: a request then has no answer
            )
            return await stack.enter_async_context(client)

        service = Service(url, await client_of(admin_token), [await client_of(token) for token in tokens])
        published = await service.admin.post(
            "/rubrics/light/versions", json={"content": RUBRIC.model_dump(mode="json")}
        )
        assert published.is_success, published.text
        yield service
        for path in ("/metrics", "/readyz", "/openapi.json", "/judgements", "/rubrics"):
            await service.admin.get(path)
