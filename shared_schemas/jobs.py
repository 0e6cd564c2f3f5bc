"""`/jobs`: long work that a worker does, as it is seen from outside."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from shared_schemas.base import ResponseModel

LEARN = "learn"
"""The kind of job that learns a rubric set; its result is a `LearnResult`."""

EVALUATE = "evaluate"
"""The kind of job that measures rubric versions; its result is an `EvaluationReport`."""


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing about the job will change any more."""
        return self in {self.SUCCEEDED, self.FAILED, self.CANCELLED}


class JobReason(StrEnum):
    """Why a job of any kind can end otherwise than well; each kind has reasons of its own beside these."""

    CANCELLED = "cancelled"
    WORKER_LOST = "worker-lost"
    INTERNAL_ERROR = "internal-error"


class JobStage(ResponseModel):
    """One part of the work."""

    name: str
    """What is done in it."""
    done: int
    """Items that are done."""
    total: int
    """Items that there are."""
    judge_calls: int = 0
    """Calls paid for in it, in this attempt."""
    tokens: int = 0
    """Tokens of those calls."""
    seconds: float = 0.0
    """Wall time so far, when its last item was done."""


class JobError(ResponseModel):
    """What went wrong."""

    type: str
    """The job's `reason`."""
    detail: str
    """A sentence for people."""


class Job(ResponseModel):
    """One piece of long work: what was asked for, how far it is, and what came of it."""

    id: int
    """Grows with time."""
    kind: str
    """What is done: `learn`, `evaluate` …"""
    tenant: str
    """Whose key asked; `local` on a service without keys."""
    state: JobState
    """Where it stands."""
    reason: str | None
    """Why it was cancelled or failed, as a stable slug."""
    cancel_requested: bool
    """Whether it was told to stop; unless it is final already, it will end `cancelled`."""
    stages: tuple[JobStage, ...]
    """The parts begun so far in this attempt; the last one is under way."""
    judge_calls: int
    """Calls paid for at the judge and the chat model, over all attempts; remembered answers cost none."""
    tokens: int
    """Tokens read and written in those calls."""
    attempt: int
    """How often a worker has started it; 0 = none has yet."""
    created: datetime
    """When it was asked for (UTC)."""
    started: datetime | None
    """When a worker first started it."""
    finished: datetime | None
    """When it became final."""
    seed: int
    """All that is random in it follows from this."""
    parameters: dict[str, Any]
    """What was asked for, by the kind's own rules."""
    result: dict[str, Any] | None
    """What came of it; a failed job may have one, too: the evidence."""
    error: JobError | None
    """What went wrong; null unless it failed."""
    revision: int
    """Grows with every change of the job; the `id` of its events."""


class JobPage(ResponseModel):
    """One page of `GET /jobs`, newest first."""

    items: tuple[Job, ...]
    """The jobs of this page."""
    next: int | None
    """Pass as `before` to get the next page; null on the last."""


class JobAccepted(ResponseModel):
    """Answer of every call that starts a job."""

    job: Job
    """The new job, or an equal one that is not final yet."""
