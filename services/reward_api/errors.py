"""Every refusal of the service, and the one handler that turns it into `application/problem+json`.

ApiError
├── InvalidRequest (422)      ├── UnknownImage   ├── UnusedImage   ├── InvalidImage
│                             ├── PromptTooLong  ├── TaskMismatch  └── InvalidDataset
├── Unauthenticated (401, carries WWW-Authenticate)          ├── Forbidden (403)
├── UnknownRubric (404)       ├── UnknownJudgement (404)     ├── UnknownJob (404)
├── UnknownDataset (404)      ├── AliasChanged (412)         ├── ArchivedAlias (409)
├── BodyTooSlow (408)         ├── BodyTooLarge (413)         ├── UnsupportedMediaType (415)
├── StorageFull (507)
└── Overloaded (429)          └── Unavailable (503): both carry Retry-After

The framework's own refusals (unknown route, wrong method …) and storage errors are translated into the same documents.
The one rule: status and slug stand on the class; an unexpected exception is logged and never shown.
"""

# ruff: noqa: N818 - each class is named like the slug that clients see

import logging
import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from http import HTTPMethod, HTTPStatus
from typing import Any, ClassVar

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic_core import ErrorDetails
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from services.storage.errors import AliasChangedError, ArchivedAliasError, StorageError
from services.telemetry import current_request_id
from shared_schemas.problems import PROBLEM_MEDIA_TYPE, PROBLEM_TYPE_PREFIX, FieldError, Problem, ProblemType

RETRY_AFTER = timedelta(seconds=2)
"""When a client may come back where nothing better is known: about as long as a judge or database needs to be
restarted, and short enough that a training step does not stand still for long."""

CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that left; nobody reads it, the metrics count it."""

_log = logging.getLogger(__name__)


class ApiError(HTTPException):
    """A refusal. Being an `HTTPException`, it passes through the framework unwrapped."""

    status: ClassVar[HTTPStatus]
    type: ClassVar[ProblemType]

    def __init__(
        self,
        detail: str,
        *,
        part: str | None = None,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status_code=self.status, detail=detail, headers=headers)
        self.part = part
        self.errors = tuple(errors)


class InvalidRequest(ApiError):
    """The payload is not what the call takes."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    type = ProblemType.INVALID_REQUEST


class InvalidImage(InvalidRequest):
    """A part is not an image that can be judged."""

    type = ProblemType.INVALID_IMAGE


class UnknownImage(InvalidRequest):
    """A group names an image that was not sent."""

    type = ProblemType.UNKNOWN_IMAGE


class UnusedImage(InvalidRequest):
    """An image was sent that no group names."""

    type = ProblemType.UNUSED_IMAGE


class PromptTooLong(InvalidRequest):
    """A prompt is longer than the service reads."""

    type = ProblemType.PROMPT_TOO_LONG


class TaskMismatch(InvalidRequest):
    """Source images and the rubric's task do not go together."""

    type = ProblemType.TASK_MISMATCH


class InvalidDataset(InvalidRequest):
    """Labelled data has faults."""

    type = ProblemType.INVALID_DATASET


class Unauthenticated(ApiError):
    """The request carries no API key that is good."""

    status = HTTPStatus.UNAUTHORIZED
    type = ProblemType.UNAUTHENTICATED

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(ApiError):
    """The API key, or the way the service was reached, does not allow this."""

    status = HTTPStatus.FORBIDDEN
    type = ProblemType.FORBIDDEN


class UnknownRubric(ApiError):
    """No such rubric set, version or alias."""

    status = HTTPStatus.NOT_FOUND
    type = ProblemType.UNKNOWN_RUBRIC


class UnknownJudgement(ApiError):
    """No such judgement, or it is another tenant's."""

    status = HTTPStatus.NOT_FOUND
    type = ProblemType.UNKNOWN_JUDGEMENT


class UnknownJob(ApiError):
    """No such job, or it is another tenant's."""

    status = HTTPStatus.NOT_FOUND
    type = ProblemType.UNKNOWN_JOB


class UnknownDataset(ApiError):
    """No such dataset or image in it, or it is another tenant's."""

    status = HTTPStatus.NOT_FOUND
    type = ProblemType.UNKNOWN_DATASET


class AliasChanged(ApiError):
    """A precondition on an alias does not hold."""

    status = HTTPStatus.PRECONDITION_FAILED
    type = ProblemType.ALIAS_CHANGED


class ArchivedAlias(ApiError):
    """An alias would point at an archived version."""

    status = HTTPStatus.CONFLICT
    type = ProblemType.ARCHIVED_ALIAS


class BodyTooLarge(ApiError):
    """The body exceeds the limit."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    type = ProblemType.BODY_TOO_LARGE


class BodyTooSlow(ApiError):
    """The body comes too slowly."""

    status = HTTPStatus.REQUEST_TIMEOUT
    type = ProblemType.BODY_TOO_SLOW


class UnsupportedMediaType(ApiError):
    """The body is not of the type the call takes."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    type = ProblemType.UNSUPPORTED_MEDIA_TYPE


class StorageFull(ApiError):
    """There is no room left to store it."""

    status = HTTPStatus.INSUFFICIENT_STORAGE
    type = ProblemType.STORAGE_FULL


class Overloaded(ApiError):
    """There is more to do than can be done in time."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    type = ProblemType.OVERLOADED

    def __init__(self, detail: str, *, retry_after: timedelta = RETRY_AFTER) -> None:
        super().__init__(detail, headers=retry_after_header(retry_after))


class Unavailable(ApiError):
    """A part that the answer needs cannot be reached."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    type = ProblemType.UNAVAILABLE

    def __init__(self, detail: str, *, retry_after: timedelta = RETRY_AFTER) -> None:
        super().__init__(detail, headers=retry_after_header(retry_after))


_FRAMEWORK_TYPES = {
    HTTPStatus.NOT_FOUND: ProblemType.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED: ProblemType.METHOD_NOT_ALLOWED,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ProblemType.BODY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: ProblemType.UNSUPPORTED_MEDIA_TYPE,
}


_DETAILS = {
    HTTPStatus.NOT_FOUND.phrase: "there is nothing at this address; /docs lists every call",
    HTTPStatus.METHOD_NOT_ALLOWED.phrase: "this address does not take that method; /docs lists every call",
}
"""The framework says no more than the status; this says what to do next."""

_UNREADABLE_BODY = "the body is not sound JSON"


def install_error_handlers(app: FastAPI) -> None:
    """Answer every exception below the middleware with a problem document."""
    for kind in (HTTPException, RequestValidationError, StorageError, OperationalError, PoolTimeoutError):
        app.add_exception_handler(kind, _answer_with_problem)
    app.add_exception_handler(ClientDisconnect, _forget_the_request)


def problem_response(
    *,
    status: int,
    type: ProblemType,
    detail: str,
    part: str | None = None,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem document as an HTTP answer."""
    problem = Problem(
        type=f"{PROBLEM_TYPE_PREFIX}{type}",
        title=type.replace("-", " ").capitalize(),
        status=status,
        detail=detail,
        part=part,
        errors=tuple(errors),
        request_id=current_request_id(),
    )
    content = problem.model_dump_json(exclude_none=True, exclude_defaults=True)
    return Response(content, status_code=status, media_type=PROBLEM_MEDIA_TYPE, headers=headers)


def retry_after_header(wait: timedelta) -> dict[str, str]:
    """`Retry-After` in whole seconds, never less than the wait and at least one."""
    return {"Retry-After": str(max(1, math.ceil(wait.total_seconds())))}


def unexpected_error_response() -> Response:
    """The answer to a bug: says nothing about it."""
    return problem_response(
        status=HTTPStatus.INTERNAL_SERVER_ERROR,
        type=ProblemType.INTERNAL,
        detail="something went wrong in the service; its log has the details under this request id",
    )


def field_errors(errors: Sequence[ErrorDetails | dict[str, Any]], *, root: str | None = None) -> tuple[FieldError, ...]:
    """pydantic's errors as paths and messages; values are not repeated. `root` is put before each path."""
    prefix = () if root is None else (root,)
    return tuple(
        FieldError(
            where=".".join(str(part) for part in (*prefix, *error["loc"])),
            message=error["msg"].removeprefix("Value error, "),
        )
        for error in errors
    )


async def _answer_with_problem(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and not isinstance(error, ApiError):
        if error.status_code != HTTPStatus.BAD_REQUEST:
            return _framework_problem(request, error)
        error = InvalidRequest(_UNREADABLE_BODY)  # no UTF-8, too deep, a number of too many digits
    refusal = _as_api_error(error)
    return problem_response(
        status=refusal.status,
        type=refusal.type,
        detail=refusal.detail,
        part=refusal.part,
        errors=refusal.errors,
        headers=refusal.headers,
    )


def _as_api_error(error: Exception) -> ApiError:
    match error:
        case ApiError():
            return error
        case RequestValidationError():
            return InvalidRequest("the request does not validate", errors=field_errors(error.errors()))
        case AliasChangedError():
            return AliasChanged(str(error))
        case ArchivedAliasError():
            return ArchivedAlias(str(error))
        case StorageError():
            return UnknownRubric(str(error))
        case OperationalError() if "full" in str(error.orig):
            _log.error("the database is full", exc_info=error)
            return StorageFull("the database has no room left")
        case _:
            _log.error("the database does not answer", exc_info=error)
            return Unavailable("the database cannot be reached")


def _framework_problem(request: Request, error: HTTPException) -> Response:
    fallback = (
        ProblemType.INVALID_REQUEST if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR else ProblemType.INTERNAL
    )
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods_of_address(request))
    return problem_response(
        status=error.status_code,
        type=_FRAMEWORK_TYPES.get(HTTPStatus(error.status_code), fallback),
        detail=_DETAILS.get(error.detail, error.detail),
        headers=headers,
    )


def _methods_of_address(request: Request) -> list[str]:
    """All of them; the framework names only those of the first of its routes."""
    routes = request.app.routes
    scopes = {method: {**request.scope, "method": method} for method in HTTPMethod}
    return [
        method for method, scope in scopes.items() if any(route.matches(scope)[0] is Match.FULL for route in routes)
    ]


async def _forget_the_request(_request: Request, _error: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED_REQUEST)
