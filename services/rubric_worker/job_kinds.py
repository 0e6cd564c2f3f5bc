"""What a job can do: the seam between the worker, which knows leases, and the methods, which know rubrics.

A kind is an object with one method. It gets what it works with when it is built, and the job when it runs:

    class Count:
        async def run(self, job: RunningJob) -> Mapping[str, Any]:
            job.stage("counting", total=job.parameters["to"])
            ...
            return {"counted": 10}

The one rule: a kind yields to the event loop within a second, always; what takes longer goes into a thread. A worker
that cannot renew its lease loses the job.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from services.rubric_worker.running_job import RunningJob
from shared_schemas.rubrics import json_digest


class JobKind(Protocol):
    """Work of one kind; may run for several jobs at once."""

    async def run(self, job: RunningJob) -> Mapping[str, Any]:
        """Do the job and return its result: JSON, kept with the job.

        May be begun again from the start at any point, in another process. Raises `JobFailedError` for a job that
        cannot succeed. Any other exception is a bug: the job fails as `internal-error`, and the log has the traceback.
        """
        ...


JobKinds = Mapping[str, JobKind]
"""Kinds by the name that jobs call them."""


class JobFailedError(Exception):
    """The job cannot succeed, for a reason that the person who asked for it should know."""

    def __init__(self, reason: str, detail: str, *, evidence: Mapping[str, Any] | None = None) -> None:
        """`reason` is a stable slug, `detail` a sentence, `evidence` JSON that becomes the job's `result`."""
        super().__init__(f"{reason}: {detail}")
        json_digest([detail, evidence])  # raises for what cannot be stored, where it was made
        self.reason = reason
        self.detail = detail
        self.evidence = evidence
