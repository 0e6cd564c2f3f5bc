"""Why the judge gave no verdict: from what happened on the wire to a typed failure.

Owns `BackendError` and which failure a broken connection or an HTTP status is; refuses to retry.

The one rule: a detail never quotes the server's own prose, which may repeat the request or a key. Only the short name
of the parameter or the code that it complains about, or how many images it takes, is passed on.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from http import HTTPStatus

import httpx2
import openai

from shared_schemas.problems import FailureType

_IDENTIFIER = re.compile(r"[a-z][a-z_.]{0,39}")
"""What a parameter or an error code looks like; digits and hyphens, as keys have them, are left out."""

_IMAGE_LIMIT = re.compile(r"(?i)\bat most (\d{1,4}) image|\btoo many images\b")
"""vLLM's words, and those of hosted models. A question whose rubric has a guide shows up to fifteen images."""

_GATEWAY = {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}

_WHY_UNREACHABLE: tuple[tuple[type[Exception], str], ...] = (
    (ConnectionRefusedError, "nobody listens there"),
    (socket.gaierror, "its host name cannot be resolved"),
    (ssl.SSLCertVerificationError, "its certificate is not trusted"),
    (ssl.SSLError, "it does not speak TLS as https expects"),
    (httpx2.RemoteProtocolError, "it broke the connection off, or does not speak HTTP"),
    (httpx2.ReadError, "it broke the connection off"),
    (httpx2.WriteError, "it broke the connection off"),
)


class BackendError(Exception):
    """The judge gave no verdict."""

    def __init__(
        self,
        type_: FailureType,
        detail: str,
        *,
        status: int | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.type = type_
        self.detail = detail
        self.status = status
        """HTTP status, where there was an answer that says no."""
        self.retry_after_seconds = retry_after_seconds

    @property
    def is_passing(self) -> bool:
        """Whether the server was away or busy, so that this says nothing about what it can do."""
        if self.type is FailureType.JUDGE_UNAVAILABLE:
            return self.status is None or self.status in _GATEWAY
        return self.type in {FailureType.JUDGE_TIMEOUT, FailureType.JUDGE_OVERLOADED}

    @property
    def took_the_request(self) -> bool:
        """Whether the server did what was asked, and what it answered is no good."""
        answered = {FailureType.JUDGE_MALFORMED, FailureType.JUDGE_OFF_TOPIC, FailureType.JUDGE_REFUSED}
        return self.status is None and self.type in answered

    @property
    def is_a_no(self) -> bool:
        """Whether a route that not every server has answered with a status, and not with "later".

        That includes 5xx: proxies say 503 for what they do not route. If the server itself is away, its chat route says
        so too.
        """
        return self.status is not None and self.type in {FailureType.JUDGE_REFUSED, FailureType.JUDGE_UNAVAILABLE}


class CutOffError(BackendError):
    """The judge had more to say than it was given room for."""

    def __init__(self) -> None:
        super().__init__(FailureType.JUDGE_MALFORMED, "the judge cannot be understood: its answer was cut off")


def malformed(what: str) -> BackendError:
    """The judge's answer cannot be read."""
    return BackendError(FailureType.JUDGE_MALFORMED, f"the judge cannot be understood: {what}")


def refused() -> BackendError:
    """The judge answered that it will not."""
    return BackendError(FailureType.JUDGE_REFUSED, "the judge refused to answer")


def parameter_blamed(error: BackendError, sent: Collection[str]) -> str | None:
    """Which of the parameters that we `sent` the server complains about; None unless it is exactly one.

    For finding another way of asking, never for a detail: besides the field for it, the server's prose is searched.
    """
    cause = error.__cause__
    if not isinstance(cause, openai.APIStatusError):
        return None
    if cause.param in sent:
        return cause.param
    prose = _prose(cause.body)
    blamed = [name for name in sent if re.search(rf"(?<!\w){name}(?!\w)", prose)]
    return blamed[0] if len(blamed) == 1 else None


@asynccontextmanager
async def typed_failures(within: timedelta) -> AsyncIterator[None]:
    """Bound one call in time and give its failure a type. Raises `BackendError`."""
    try:
        async with asyncio.timeout(within.total_seconds()):
            yield
    except (TimeoutError, openai.APITimeoutError) as error:
        detail = f"the judge did not answer within {within.total_seconds():g} s"
        raise BackendError(FailureType.JUDGE_TIMEOUT, detail) from error
    except openai.APIStatusError as error:
        raise _status_failure(error) from error
    except openai.APIError as error:
        why = _why_unreachable(error)
        detail = f"the judge cannot be reached: {why}" if why else "the judge cannot be reached"
        raise BackendError(FailureType.JUDGE_UNAVAILABLE, detail) from error


def _status_failure(error: openai.APIStatusError) -> BackendError:
    status, said = error.status_code, _what_was_wrong(error)
    retry_after = _seconds(error.response.headers.get("Retry-After"))
    match status:
        case HTTPStatus.TOO_MANY_REQUESTS:
            type_, detail = FailureType.JUDGE_OVERLOADED, "the judge is overloaded"
        case HTTPStatus.REQUEST_TIMEOUT:
            type_, detail = FailureType.JUDGE_TIMEOUT, "the judge gave up waiting for the request"
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            type_, detail = FailureType.JUDGE_UNAVAILABLE, f"the judge refused our credentials ({said})"
        case _ if httpx2.codes.is_server_error(status):
            type_, detail = FailureType.JUDGE_UNAVAILABLE, f"the judge failed ({said})"
        case _ if httpx2.codes.is_redirect(status):
            type_, detail = FailureType.JUDGE_REFUSED, f"the judge's URL leads elsewhere ({said}); use its final URL"
        case _:
            type_, detail = FailureType.JUDGE_REFUSED, f"the judge refused the request ({said})"
    return BackendError(type_, detail, status=status, retry_after_seconds=retry_after)


def _what_was_wrong(error: openai.APIStatusError) -> str:
    """`HTTP 400: input_tokens`: the status, and the parameter or the code that the server names, if any."""
    if found := _IMAGE_LIMIT.search(_prose(error.body)):
        limit = f"; it takes {found[1]} at most" if found[1] else ""
        return f"HTTP {error.status_code}: too many images in one question{limit}"
    for name in (error.param, error.code):
        if isinstance(name, str) and _IDENTIFIER.fullmatch(name):
            return f"HTTP {error.status_code}: {name}"
    return f"HTTP {error.status_code}"


def _prose(body: object) -> str:
    """The message of an OpenAI-like error, or the `detail` of a FastAPI one without the values that it repeats."""
    match body:
        case {"message": str(message)}:
            return message
        case {"detail": str(message)}:
            return message
        case {"detail": [*faults]}:
            return " ".join(f"{fault.get('loc')} {fault.get('msg')}" for fault in faults if isinstance(fault, dict))
        case _:
            return ""


def _why_unreachable(error: openai.APIError) -> str | None:
    for cause in _causes(error):
        for kind, why in _WHY_UNREACHABLE:
            if isinstance(cause, kind):
                return why
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__ or error.__context__
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _seconds(header: str | None) -> float | None:
    """`Retry-After` in seconds; its other form, a date, is left to the default back-off."""
    return float(header) if header and header.isdecimal() else None
