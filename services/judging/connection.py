"""The wire to one judge: an OpenAI-compatible server over a URL, or an application in this process.

Owns URLs, credentials, connections and time bounds; refuses to retry and to know what is asked.

The one rule: whatever goes wrong is a `BackendError`, and no name or message of it carries the URL's secrets.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import httpx2
import openai
from openai import RequestOptions
from pydantic_core import to_json

from services.judging.failures import typed_failures

_IN_PROCESS_URL = "http://in-process"
_IN_PROCESS_NAME = "in-process"

_DEFAULT_PORTS = {"http": 80, "https": 443}

_ALONE = {"Connection": "close"}
"""For all but judgements: servers that crash on a question we try may hang up on the next one of that connection."""


class JudgeConnection:
    """One server. `base` routes stand below its `…/v1`, `root` routes beside that."""

    def __init__(self, *, url: str, api_key: str | None, transport: httpx2.AsyncBaseTransport | None) -> None:
        base = httpx2.URL(url.rstrip("/"))
        base_url = str(base.copy_with(path="/v1") if base.path in {"", "/"} else base)
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=64)
        self._client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=api_key or "none",  # the client wants one; without it, it would read OPENAI_API_KEY
            http_client=httpx2.AsyncClient(transport=transport, limits=limits),
            max_retries=0,
        )
        self._base_url = base_url
        self._root_url = base_url.removesuffix("/v1")
        self.name = _IN_PROCESS_NAME if url == _IN_PROCESS_URL else _host_and_port(base)

    @classmethod
    def in_process(cls, app: Any) -> "JudgeConnection":
        """An ASGI application in this process: the same requests, no socket."""
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        return cls(url=_IN_PROCESS_URL, api_key=None, transport=transport)

    async def models(self, *, within: timedelta) -> bytes:
        """`GET /v1/models`. Raises `BackendError`, as all of these do."""
        return await self._get(f"{self._base_url}/models", within=within)

    async def version(self, *, within: timedelta) -> bytes:
        """`GET /version`."""
        return await self._get(f"{self._root_url}/version", within=within)

    async def metrics(self, *, within: timedelta) -> bytes:
        """`GET /metrics`."""
        return await self._get(f"{self._root_url}/metrics", within=within)

    async def tokenize(self, body: Mapping[str, Any], *, within: timedelta) -> bytes:
        """`POST /tokenize`."""
        return await self._post(f"{self._root_url}/tokenize", to_json(dict(body)), within=within, keep_alive=False)

    async def chat(self, body: bytes, *, within: timedelta, keep_alive: bool) -> bytes:
        """`POST /v1/chat/completions`."""
        return await self._post(f"{self._base_url}/chat/completions", body, within=within, keep_alive=keep_alive)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _get(self, url: str, *, within: timedelta) -> bytes:
        async with typed_failures(within):
            response = await self._client.get(url, cast_to=httpx2.Response, options={"headers": _ALONE})
        return response.content

    async def _post(self, url: str, body: bytes, *, within: timedelta, keep_alive: bool) -> bytes:
        """The raw answer: the client's typed `create()` takes 5 ms to walk through one of our requests."""
        options: RequestOptions = {} if keep_alive else {"headers": _ALONE}
        async with typed_failures(within):
            response = await self._client.post(url, cast_to=httpx2.Response, content=body, options=options)
        return response.content


def _host_and_port(url: httpx2.URL) -> str:
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{host}:{url.port or _DEFAULT_PORTS.get(url.scheme, 0)}"
