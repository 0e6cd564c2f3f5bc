"""Every call as data: what to send, and how to read the answer. No input or output happens here.

Both clients are thin shells that send a `Call` and hand the response to `read_answer`. What is null is left out: an
older service refuses a field that it does not know.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import IO, Any, Generic, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from reward_client.errors import ProtocolError, RequestRejected, ServiceUnavailable
from reward_client.retries import WorthRetryingError, is_worth_retrying, retry_after
from shared_schemas.datasets import Dataset, DatasetPage
from shared_schemas.evaluations import EvaluationRequest
from shared_schemas.health import Readiness
from shared_schemas.jobs import Job, JobAccepted, JobPage, JobState
from shared_schemas.judgements import JudgementDetail, JudgementPage
from shared_schemas.learning import LearnRequest
from shared_schemas.problems import Problem
from shared_schemas.reward import RewardRequest, RewardResponse
from shared_schemas.rubrics import (
    AliasRequest,
    AliasState,
    PublishRequest,
    RubricContent,
    RubricDiff,
    RubricPage,
    RubricSummary,
    RubricVersion,
    VersionPage,
)

_SUCCESS = frozenset({HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT})

T = TypeVar("T")
ModelT = TypeVar("ModelT", bound=BaseModel)

File = tuple[str, tuple[str, bytes | IO[bytes], str]]
"""httpx's notation of a part: field name, (file name, content, media type)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Call(Generic[T]):
    """One request and the way to read its answer."""

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    files: tuple[File, ...] = ()
    deadline: timedelta | None = None
    """Overall, retries included; none = the client's own."""
    accepted: frozenset[int] = _SUCCESS
    """Statuses whose body `read` understands."""

    def request(self, client: httpx.Client | httpx.AsyncClient, *, timeout_seconds: float) -> httpx.Request:
        """The HTTP request; a fresh one per attempt."""
        return client.build_request(
            self.method,
            self.path,
            params=self.params,
            headers=self.headers,
            json=self.json,
            files=list(self.files) or None,
            timeout=timeout_seconds,
        )


def reward(request: RewardRequest, images: Mapping[str, bytes], *, deadline: timedelta | None) -> Call[RewardResponse]:
    """`POST /reward`. Safe to repeat: the service answers equal requests equally.

    `Prefer: wait` (RFC 7240) tells the request's own deadline ahead of the body, so that a service that cannot keep it
    refuses before megabytes of images are sent.
    """
    wait_seconds = request.deadline_seconds
    headers = {} if wait_seconds is None else {"Prefer": f"wait={math.ceil(wait_seconds)}"}
    meta = request.model_dump_json(exclude_none=True).encode()
    files: list[File] = [("meta", ("meta.json", meta, "application/json"))]
    files += [(name, (f"{name}.png", png, "image/png")) for name, png in images.items()]
    return Call(
        method="POST",
        path="/reward",
        headers=headers,
        files=tuple(files),
        deadline=deadline,
        read=_model(RewardResponse),
    )


def publish_rubric(name: str, content: RubricContent, provenance: Mapping[str, Any]) -> Call[RubricVersion]:
    """`POST /rubrics/{name}/versions`. Safe to repeat: equal content is the same version."""
    body = PublishRequest(content=content, provenance=dict(provenance)).model_dump(mode="json", exclude_none=True)
    return Call(method="POST", path=f"/rubrics/{quote(name)}/versions", json=body, read=_model(RubricVersion))


def rubric_summary(name: str) -> Call[RubricSummary]:
    """`GET /rubrics/{name}`."""
    return Call(method="GET", path=f"/rubrics/{quote(name)}", read=_model(RubricSummary))


def rubric_version(name: str, version: int) -> Call[RubricVersion]:
    """`GET /rubrics/{name}/versions/{version}`."""
    return Call(method="GET", path=f"/rubrics/{quote(name)}/versions/{version}", read=_model(RubricVersion))


def rubric_page(*, archived: bool, after: str | None) -> Call[RubricPage]:
    """`GET /rubrics`, one page of it."""
    params = _archived(archived) | ({} if after is None else {"after": after})
    return Call(method="GET", path="/rubrics", params=params, read=_model(RubricPage))


def rubric_version_page(name: str, *, archived: bool, before: int | None) -> Call[VersionPage]:
    """`GET /rubrics/{name}/versions`, one page of it, newest first."""
    params = _archived(archived) | ({} if before is None else {"before": str(before)})
    return Call(method="GET", path=f"/rubrics/{quote(name)}/versions", params=params, read=_model(VersionPage))


def diff_rubric(name: str, before: int, after: int) -> Call[RubricDiff]:
    """`GET /rubrics/{name}/diff`."""
    params = {"from": str(before), "to": str(after)}
    return Call(method="GET", path=f"/rubrics/{quote(name)}/diff", params=params, read=_model(RubricDiff))


def archive_rubric(name: str, version: int, *, archived: bool) -> Call[RubricVersion]:
    """`POST` or `DELETE /rubrics/{name}/versions/{version}/archive`. Safe to repeat."""
    path = f"/rubrics/{quote(name)}/versions/{version}/archive"
    return Call(method="POST" if archived else "DELETE", path=path, read=_model(RubricVersion))


def learn(name: str, request: LearnRequest) -> Call[JobAccepted]:
    """`POST /rubrics/{name}/learn`. Safe to repeat: an equal job that is under way is the same job."""
    body = request.model_dump(mode="json", exclude_none=True)
    return Call(method="POST", path=f"/rubrics/{quote(name)}/learn", json=body, read=_model(JobAccepted))


def evaluate(request: EvaluationRequest) -> Call[JobAccepted]:
    """`POST /evaluations`. Safe to repeat, as `learn` is."""
    body = request.model_dump(mode="json", exclude_none=True)
    return Call(method="POST", path="/evaluations", json=body, read=_model(JobAccepted))


def alias(name: str, alias: str) -> Call[AliasState]:
    """`GET /rubrics/{name}/aliases/{alias}`."""
    return Call(method="GET", path=_alias_path(name, alias), read=_model(AliasState))


def set_alias(name: str, alias: str, version: int, *, expected: int | None) -> Call[AliasState]:
    """`PUT /rubrics/{name}/aliases/{alias}`, with `If-Match` when a version is expected there."""
    headers = {} if expected is None else {"If-Match": f'"{expected}"'}
    body = AliasRequest(version=version).model_dump(mode="json")
    return Call(method="PUT", path=_alias_path(name, alias), json=body, headers=headers, read=_model(AliasState))


def judgement(judgement_id: int) -> Call[JudgementDetail]:
    """`GET /judgements/{id}`."""
    return Call(method="GET", path=f"/judgements/{judgement_id}", read=_model(JudgementDetail))


def judgement_page(*, run: str | None, rubric: str | None, before: int | None) -> Call[JudgementPage]:
    """`GET /judgements`, one page of it, newest first."""
    wanted = {"run": run, "rubric": rubric, "before": None if before is None else str(before)}
    params = {name: value for name, value in wanted.items() if value is not None}
    return Call(method="GET", path="/judgements", params=params, read=_model(JudgementPage))


def upload_dataset(pairs: bytes, images: Mapping[str, bytes | IO[bytes]], *, deadline: timedelta) -> Call[Dataset]:
    """`POST /datasets`. Safe to repeat: equal rows are the same dataset."""
    files: list[File] = [("pairs", ("pairs.jsonl", pairs, "application/jsonl"))]
    files += [(name, (name, content, "application/octet-stream")) for name, content in images.items()]
    return Call(method="POST", path="/datasets", files=tuple(files), deadline=deadline, read=_model(Dataset))


def dataset(dataset_id: int) -> Call[Dataset]:
    """`GET /datasets/{id}`."""
    return Call(method="GET", path=f"/datasets/{dataset_id}", read=_model(Dataset))


def dataset_page(before: int | None) -> Call[DatasetPage]:
    """`GET /datasets`, one page of it, newest first."""
    params = {} if before is None else {"before": str(before)}
    return Call(method="GET", path="/datasets", params=params, read=_model(DatasetPage))


def job(job_id: int) -> Call[Job]:
    """`GET /jobs/{id}`."""
    return Call(method="GET", path=f"/jobs/{job_id}", read=_model(Job))


def job_page(*, state: JobState | None, kind: str | None, before: int | None) -> Call[JobPage]:
    """`GET /jobs`, one page of it, newest first."""
    wanted = {"state": state, "kind": kind, "before": None if before is None else str(before)}
    params = {name: str(value) for name, value in wanted.items() if value is not None}
    return Call(method="GET", path="/jobs", params=params, read=_model(JobPage))


def cancel_job(job_id: int) -> Call[Job]:
    """`POST /jobs/{id}/cancel`. Safe to repeat: a job is cancelled once."""
    return Call(method="POST", path=f"/jobs/{job_id}/cancel", read=_model(Job))


def readiness() -> Call[Readiness]:
    """`GET /readyz`; not being ready is an answer, too."""
    accepted = frozenset({HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE})
    return Call(method="GET", path="/readyz", accepted=accepted, read=_model(Readiness))


def read_answer(call: Call[T], response: httpx.Response) -> T:
    """The typed answer. Raises the error that the status stands for (see `errors`)."""
    if response.status_code in call.accepted:
        return call.read(response)
    problem = _problem(response)
    message = f"{call.method} {call.path}: {problem.status} {problem.slug}: {problem.detail}"
    if is_worth_retrying(response.status_code):
        raise WorthRetryingError(message, problem=problem, retry_after=retry_after(response.headers))
    if response.is_client_error:
        raise RequestRejected(problem)
    if response.is_server_error:
        raise ServiceUnavailable(message, problem=problem)
    raise ProtocolError(f"{call.method} {call.path} answered with the unexpected status {response.status_code}")


def _archived(archived: bool) -> dict[str, str]:
    return {"archived": "true"} if archived else {}


def _alias_path(name: str, alias: str) -> str:
    return f"/rubrics/{quote(name)}/aliases/{quote(alias)}"


def _model(model: type[ModelT]) -> Callable[[httpx.Response], ModelT]:
    adapter = TypeAdapter(model)

    def read(response: httpx.Response) -> ModelT:
        try:
            return adapter.validate_json(response.content)
        except ValidationError as error:
            raise ProtocolError(f"{response.url} did not answer with a {model.__name__}: {error}") from error

    return read


def _problem(response: httpx.Response) -> Problem:
    """The problem document, or RFC 9457's `about:blank` for a server that sends none (a proxy, say)."""
    try:
        return Problem.model_validate_json(response.content)
    except ValidationError:
        return Problem(
            type="about:blank",
            title=response.reason_phrase,
            status=response.status_code,
            detail=response.text[:200] or response.reason_phrase,
        )
