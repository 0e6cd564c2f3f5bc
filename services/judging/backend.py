"""The judge as a server: any OpenAI-compatible endpoint with log-probabilities, over a URL or in process.

Owns transport and capability probing; refuses to retry (`judge` does), to cache, to interpret verdicts, and to say
which failure is which (`failures`).

The one rule: what a server can do is found out once, by asking it, never from its name.
"""

import base64
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any, NamedTuple, TypeVar

import httpx2
import openai
from openai import RequestOptions
from openai.types.chat import ChatCompletionContentPartParam, ChatCompletionMessageParam
from pydantic import BaseModel, Field, ValidationError

from services.judging.cache import LabelAnswer
from services.judging.failures import BackendError, malformed, typed_failures
from services.judging.label_logprobs import LABELS, LabelTokens, read_labels
from services.judging.probe_question import probe_question
from services.judging.prompts import PairPrompt, Part
from shared_schemas.problems import FailureType

__all__ = ["BackendError", "BackendIdentity", "OpenAIBackend"]

_log = logging.getLogger(__name__)

_IN_PROCESS_URL = "http://in-process"

_KEPT_OUT = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}

_ALONE = {"Connection": "close"}
"""For all but judgements: servers that crash on a question we try may hang up on the next one of that connection."""

_WORDS_LOGGED = 300
"""Characters of a refusal's body in the log, at start-up only, when the question is our own."""

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

        Raises `BackendError`: a retryable one when the server is away, busy or keeps us out, `judge-refused` when there
        is no such model or no way of asking it takes, `judge-malformed` when it gives no log-probabilities.
        """
        self._model = self._wanted_model or await self._first_model(within=within)
        self._tokens = await self._label_tokens(within=within)
        self._style = await self._working_style(within=within)
        version = await self._server_version(within=within)
        return BackendIdentity(model=self._model, server_version=version, style=self._style.name)

    async def ask(self, prompt: PairPrompt, *, within: timedelta) -> LabelAnswer:
        """One constrained token. Raises `BackendError`."""
        return await self._ask(prompt, style=self._style, within=within, keep_alive=True)

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

    async def _ask(
        self, prompt: PairPrompt, *, style: _Style, within: timedelta, keep_alive: bool = False
    ) -> LabelAnswer:
        tokens = self._tokens if style.restricts_labels else None
        restriction = {} if tokens is None else {"allowed_token_ids": tokens.ids, "logprob_token_ids": tokens.ids}
        body = {"model": self._model, "messages": _messages(prompt), "logprobs": True, **style.body, **restriction}
        url = f"{self._base_url}/chat/completions"
        return read_labels(await self._post(url, body, within=within, keep_alive=keep_alive), tokens=tokens)

    async def _working_style(self, *, within: timedelta) -> _Style:
        failures: list[BackendError] = []
        for style in _STYLES:
            if style.restricts_labels and self._tokens is None:
                continue
            try:
                label_mass = await self._trial(style, within=within)
            except BackendError as error:
                if error.is_passing or error.status in _KEPT_OUT:
                    raise
                if error.status == HTTPStatus.NOT_FOUND:
                    raise await self._not_there(error, within=within) from error
                failures.append(error)
                continue
            _log.info(
                "judge found", extra={"model": self._model, "asked_with": style.name, "trial_label_mass": label_mass}
            )
            return style
        raise _nothing_works(failures, model=self._model)

    async def _trial(self, style: _Style, *, within: timedelta) -> float:
        """Ask a real question; the label mass of the answer. A judge that is off topic has log-probs all the same."""
        try:
            return (await self._ask(probe_question(), style=style, within=within)).label_mass
        except BackendError as error:
            if error.type is FailureType.JUDGE_OFF_TOPIC:
                return 0.0
            extra = {"model": self._model, "asked_with": style.name, "detail": error.detail, "said": _words(error)}
            _log.info("judge cannot be asked this way", extra=extra)
            raise

    async def _not_there(self, error: BackendError, *, within: timedelta) -> BackendError:
        """Is it the model or the URL that does not exist?"""
        served = await self._served_models(within=within)
        if served and self._model not in served:
            detail = f"the judge has no model {self._model!r}; it serves {', '.join(served)}"
        else:
            detail = f"the judge has no chat API for {self._model!r} at this URL ({error.detail})"
        return BackendError(FailureType.JUDGE_REFUSED, detail, status=error.status)

    async def _first_model(self, *, within: timedelta) -> str:
        served = await self._served_models(within=within)
        if not served:
            raise malformed("it lists no models; its URL is wrong, or the model must be named in the settings")
        return served[0]

    async def _served_models(self, *, within: timedelta) -> tuple[str, ...]:
        """Ids of the models it lists; none where there is no such route, or nothing readable behind it."""
        try:
            listed = _parse(await self._get(f"{self._base_url}/models", within=within), _Models)
        except BackendError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return ()
        return tuple(model.id for model in listed.data) if listed else ()

    async def _server_version(self, *, within: timedelta) -> str:
        try:
            found = _parse(await self._get(f"{self._root_url}/version", within=within), _Version)
        except BackendError as error:
            if not error.is_a_no:
                raise
            return ""
        return found.version if found else ""

    async def _label_tokens(self, *, within: timedelta) -> LabelTokens | None:
        """Ids of the single tokens "1", " 1", "2", " 2" by `POST /tokenize` (vLLM); None when that does not exist."""
        try:
            first, second = [await self._single_tokens((label, f" {label}"), within=within) for label in LABELS]
        except BackendError as error:
            if not error.is_a_no:
                raise
            _log.info("judge cannot tokenize", extra={"model": self._model, "detail": error.detail})
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
        async with typed_failures(within):
            response = await self._client.get(url, cast_to=httpx2.Response, options={"headers": _ALONE})
        return response.content

    async def _post(self, url: str, body: Mapping[str, Any], *, within: timedelta, keep_alive: bool = False) -> bytes:
        """The raw answer: the client's typed `create()` takes 5 ms to walk through one of our requests."""
        options: RequestOptions = {} if keep_alive else {"headers": _ALONE}
        async with typed_failures(within):
            response = await self._client.post(url, cast_to=httpx2.Response, body=body, options=options)
        return response.content


def _nothing_works(failures: Sequence[BackendError], *, model: str) -> BackendError:
    """Why every way of asking failed: the last answer without log-probabilities, else the first refusal."""
    unreadable = [error for error in failures if error.type is FailureType.JUDGE_MALFORMED]
    reason = unreadable[-1] if unreadable else failures[0]
    return BackendError(reason.type, f"{reason.detail}, whichever way {model!r} is asked", status=reason.status)


def _words(error: BackendError) -> str:
    cause = error.__cause__
    return cause.response.text[:_WORDS_LOGGED] if isinstance(cause, openai.APIStatusError) else ""


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
