"""RFC 9457 problem documents: the one shape of every error."""

from enum import StrEnum

from pydantic import ConfigDict

from shared_schemas.base import ResponseModel

PROBLEM_MEDIA_TYPE = "application/problem+json"

PROBLEM_TYPE_PREFIX = "/problems/"
"""`type` of a problem is this prefix and a stable slug, relative to the service; docs/api.md describes each."""


class ProblemType(StrEnum):
    """The slugs. Each is described in docs/api.md."""

    INVALID_REQUEST = "invalid-request"
    INVALID_IMAGE = "invalid-image"
    UNKNOWN_IMAGE = "unknown-image"
    UNUSED_IMAGE = "unused-image"
    PROMPT_TOO_LONG = "prompt-too-long"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    UNKNOWN_RUBRIC = "unknown-rubric"
    UNKNOWN_JUDGEMENT = "unknown-judgement"
    UNKNOWN_JOB = "unknown-job"
    INVALID_DATASET = "invalid-dataset"
    UNKNOWN_DATASET = "unknown-dataset"
    TASK_MISMATCH = "task-mismatch"
    ALIAS_CHANGED = "alias-changed"
    ARCHIVED_ALIAS = "archived-alias"
    NOT_FOUND = "not-found"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    BODY_TOO_LARGE = "body-too-large"
    BODY_TOO_SLOW = "body-too-slow"
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type"
    OVERLOADED = "overloaded"
    UNAVAILABLE = "unavailable"
    STORAGE_FULL = "storage-full"
    INTERNAL = "internal-error"


class FailureType(StrEnum):
    """Why one group was not judged; `is_retryable` says whether asking again can help."""

    JUDGE_UNAVAILABLE = "judge-unavailable"
    JUDGE_OVERLOADED = "judge-overloaded"
    JUDGE_TIMEOUT = "judge-timeout"
    JUDGE_REFUSED = "judge-refused"
    JUDGE_MALFORMED = "judge-malformed"
    JUDGE_OFF_TOPIC = "judge-off-topic"
    JUDGE_LACKS_LOG_PROBS = "judge-lacks-log-probs"

    @property
    def is_retryable(self) -> bool:
        """True for a judge that could not answer, false for one that answered wrongly."""
        return self in {self.JUDGE_UNAVAILABLE, self.JUDGE_OVERLOADED, self.JUDGE_TIMEOUT}


class FieldError(ResponseModel):
    """One thing that is wrong with a payload."""

    where: str
    """Path to the value: `meta.groups.0.prompt`, or the part's name."""
    message: str
    """What is wrong with it."""


class Problem(ResponseModel):
    """Body of every answer with a status of 400 or above."""

    model_config = ConfigDict(extra="allow")

    type: str
    """`PROBLEM_TYPE_PREFIX` + slug, stable across releases."""
    title: str
    """The slug in words."""
    status: int
    """The HTTP status again."""
    detail: str
    """What went wrong here and what to do about it."""
    part: str | None = None
    """The multipart part at fault, if one is."""
    errors: tuple[FieldError, ...] = ()
    """Every field at fault, when the payload did not validate."""
    request_id: str | None = None
    """The request's `X-Request-Id`."""

    @property
    def slug(self) -> str:
        """The last part of `type`."""
        return self.type.rsplit("/", 1)[-1]
