"""The judge as a server: any OpenAI-compatible endpoint with log-probabilities, over a URL or in process.

Owns transport, capability probing, and which failure is which; refuses to retry (`judge` does), to cache, and to
interpret verdicts.

The one rule: what a server can do is found out once, by asking it, never from its name.
"""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import httpx2
import openai
from openai.types.chat import ChatCompletionContentPartParam, ChatCompletionMessageParam
from pydantic import BaseModel, Field, ValidationError

from services.judging.cache import LabelAnswer
from services.judging.label_logprobs import LABELS, BackendError, LabelTokens, malformed, read_labels
from services.judging.probe_question import probe_question
from services.judging.prompts import PairPrompt, Part
from shared_schemas.problems import FailureType

__all__ = ["BackendError", "BackendIdentity", "OpenAIBackend"]

_log = logging.getLogger(__name__)

_IN_PROCESS_URL = "http://in-process"

Answer = TypeVar("Answer", bound=BaseModel)


class _Style(NamedTuple):
    """One way to ask for a single label with its log-probabilities."""

    name: str
    body: dict[str, Any]
    restricts_labels: bool = False


_STYLES = (
    # vLLM: nothing but a label can be answered, and the log-probs are those before that restriction.
    _Style("logprob_token_ids", {"max_tokens": 1, "temperature": 0.0, "return_tokens_as_token_ids": True}, True),
    _Style("top_logprobs=20", {"max_tokens": 1, "temperature": 0.0, "top_logprobs": 20}),
    # Hosted models that renamed `max_tokens` and fixed the temperature.
    _Style("top_logprobs=20, max_completion_tokens", {"max_completion_tokens": 1, "top_logprobs": 20}),
    # Servers that return no more than five.
    _Style("top_logprobs=5", {"max_tokens": 1, "temperature": 0.0, "top_logprobs": 5}),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class BackendIdentity:
    """Who answers, and how it is asked: all that can change an answer besides the prompt."""

    model: str
    """The model id it serves."""
    server_version: str
    """What `GET /version` says (vLLM); empty when the server does not say."""
    style: str
    """The way of asking that it understood."""


class _Models(BaseModel):
    class Model(BaseModel):
        id: str

    data: list[Model] = Field(min_length=1)


class _Version(BaseModel):
    version: str


class _Tokens(BaseModel):
    tokens: list[int]


class OpenAIBackend:
    """A judge behind the OpenAI chat API. `probe()` must have succeeded before `ask()`."""

    def __init__(
        self, *, url: str, model: str | None, api_key: str | None, transport: httpx2.AsyncBaseTransport | None
    ) -> None:
        base = httpx2.URL(url.rstrip("/"))
        base_url = base.copy_with(path="/v1") if base.path in {"", "/"} else base
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=64)
        self._client = openai.AsyncOpenAI(
            base_url=str(base_url),
            api_key=api_key or "none",  # the client wants one; without it, it would read OPENAI_API_KEY
            http_client=httpx2.AsyncClient(transport=transport, limits=limits),
            max_retries=0,
        )
        self._base_url = str(base_url)
        self._root_url = self._base_url.removesuffix("/v1")
        self._wanted_model = model
        self._model = ""
        self._style = _STYLES[0]
        self._tokens: LabelTokens | None = None

    @classmethod
    def over_url(cls, url: str, *, model: str | None = None, api_key: str | None = None) -> "OpenAIBackend":
        """A server at `url`, its root or its `…/v1`. Without `model`, the first one it lists."""
        return cls(url=url, model=model, api_key=api_key, transport=None)

    @classmethod
    def in_process(cls, app: Any, *, model: str | None = None) -> "OpenAIBackend":
        """An ASGI application in this process: the same requests, no socket."""
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        return cls(url=_IN_PROCESS_URL, model=model, api_key=None, transport=transport)

    async def probe(self, *, within: timedelta) -> BackendIdentity:
        """Find out who is there and how to ask; `within` bounds each call.

        Raises `BackendError`: a retryable one when the server cannot be reached, `judge-malformed` when it offers no
        log-probabilities in any way known here.
        """
        self._model = self._wanted_model or await self._first_model(within=within)
        self._tokens = await self._label_tokens(within=within)
        self._style = await self._working_style(within=within)
        version = await self._server_version(within=within)
        return BackendIdentity(model=self._model, server_version=version, style=self._style.name)

    async def ask(self, prompt: PairPrompt, *, within: timedelta) -> LabelAnswer:
        """One constrained token. Raises `BackendError`."""
        return await self._ask(prompt, style=self._style, within=within)

    async def check(self, *, within: timedelta) -> None:
        """Raise `BackendError` unless the server answers; costs no judgement."""
        try:
            await self._get(f"{self._base_url}/models", within=within)
        except BackendError as error:
            if error.type is not FailureType.JUDGE_REFUSED:  # a gateway without this route is there all the same
                raise

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _ask(self, prompt: PairPrompt, *, style: _Style, within: timedelta) -> LabelAnswer:
        tokens = self._tokens if style.restricts_labels else None
        restriction = {} if tokens is None else {"allowed_token_ids": tokens.ids, "logprob_token_ids": tokens.ids}
        body = {"model": self._model, "messages": _messages(prompt), "logprobs": True, **style.body, **restriction}
        return read_labels(await self._post(f"{self._base_url}/chat/completions", body, within=within), tokens=tokens)

    async def _working_style(self, *, within: timedelta) -> _Style:
        question = probe_question()
        failures: list[BackendError] = []
        for style in _STYLES:
            if style.restricts_labels and self._tokens is None:
                continue
            try:
                await self._ask(question, style=style, within=within)
            except BackendError as error:
                if error.type in {FailureType.JUDGE_TIMEOUT, FailureType.JUDGE_OVERLOADED}:
                    raise
                if error.type is not FailureType.JUDGE_OFF_TOPIC:  # log-probs it has; what they say is for later
                    _log.info("judge %s cannot be asked with %s: %s", self._model, style.name, error.detail)
                    failures.append(error)
                    continue
            return style
        if unreachable := [error for error in failures if error.type.is_retryable]:
            raise unreachable[-1]
        raise malformed(f"{self._model!r} gives no log-probabilities in any way known here ({failures[-1].detail})")

    async def _first_model(self, *, within: timedelta) -> str:
        listed = _parse(await self._get(f"{self._base_url}/models", within=within), _Models)
        if listed is None:
            raise malformed("it lists no models; name one in the settings")
        return listed.data[0].id

    async def _server_version(self, *, within: timedelta) -> str:
        try:
            found = _parse(await self._get(f"{self._root_url}/version", within=within), _Version)
        except BackendError:
            return ""
        return found.version if found else ""

    async def _label_tokens(self, *, within: timedelta) -> LabelTokens | None:
        """Ids of the single tokens "1", " 1", "2", " 2" by `POST /tokenize` (vLLM); None when that does not exist."""
        try:
            first, second = [await self._single_tokens((label, f" {label}"), within=within) for label in LABELS]
        except BackendError as error:
            if error.type is FailureType.JUDGE_TIMEOUT:
                raise
            return None
        return LabelTokens(first=first, second=second) if first and second else None

    async def _single_tokens(self, spellings: tuple[str, ...], *, within: timedelta) -> tuple[int, ...]:
        found: list[int] = []
        for text in spellings:
            body = {"model": self._model, "prompt": text, "add_special_tokens": False}
            answer = _parse(await self._post(f"{self._root_url}/tokenize", body, within=within), _Tokens)
            if answer and len(answer.tokens) == 1:
                found += answer.tokens
        return tuple(found)

    async def _get(self, url: str, *, within: timedelta) -> bytes:
        async with _typed_failures(within):
            response = await self._client.get(url, cast_to=httpx2.Response)
        return response.content

    async def _post(self, url: str, body: Mapping[str, Any], *, within: timedelta) -> bytes:
        """The raw answer: the client's typed `create()` takes 5 ms to walk through one of our requests."""
        async with _typed_failures(within):
            response = await self._client.post(url, cast_to=httpx2.Response, body=body)
        return response.content


@asynccontextmanager
async def _typed_failures(within: timedelta) -> AsyncIterator[None]:
    """Bound one call in time and give its failure a type."""
    try:
        async with asyncio.timeout(within.total_seconds()):
            yield
    except (TimeoutError, openai.APITimeoutError) as error:
        detail = f"the judge did not answer within {within.total_seconds():g} s"
        raise BackendError(FailureType.JUDGE_TIMEOUT, detail) from error
    except openai.APIStatusError as error:
        raise _status_failure(error) from error
    except openai.APIError as error:
        raise BackendError(FailureType.JUDGE_UNAVAILABLE, "the judge cannot be reached") from error


def _status_failure(error: openai.APIStatusError) -> BackendError:
    """Which failure an HTTP status is. The server's own words stay out: they may quote the request or a key."""
    status = error.status_code
    retry_after = _seconds(error.response.headers.get("Retry-After"))
    if status == httpx2.codes.TOO_MANY_REQUESTS:
        return BackendError(FailureType.JUDGE_OVERLOADED, "the judge is overloaded", retry_after_seconds=retry_after)
    if status == httpx2.codes.REQUEST_TIMEOUT:
        return BackendError(FailureType.JUDGE_TIMEOUT, "the judge gave up waiting for the request")
    if status in {httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN}:
        return BackendError(FailureType.JUDGE_UNAVAILABLE, f"the judge refused our credentials (HTTP {status})")
    if httpx2.codes.is_server_error(status):
        detail = f"the judge failed (HTTP {status})"
        return BackendError(FailureType.JUDGE_UNAVAILABLE, detail, retry_after_seconds=retry_after)
    return BackendError(FailureType.JUDGE_REFUSED, f"the judge refused the request (HTTP {status})")


def _seconds(header: str | None) -> float | None:
    """`Retry-After` in seconds; its other form, a date, is left to the default back-off."""
    return float(header) if header and header.isdecimal() else None


def _parse(body: bytes, shape: type[Answer]) -> Answer | None:
    try:
        return shape.model_validate_json(body)
    except ValidationError:
        return None


def _messages(prompt: PairPrompt) -> list[ChatCompletionMessageParam]:
    return [
        {"role": "system", "content": prompt.system},
        {"role": "user", "content": [_content(part) for part in prompt.parts]},
    ]


def _content(part: Part) -> ChatCompletionContentPartParam:
    """Text as it is; an image as a data URL that we build, the only kind of image address there is."""
    if isinstance(part, str):
        return {"type": "text", "text": part}
    encoded = base64.b64encode(part.png).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}}
