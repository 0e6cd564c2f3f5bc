"""A job as the one sees it who does it: what was asked for, its seeds, its progress, and the way to publish."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from services.rubric_worker.progress import ProgressCounter
from services.rubric_worker.seeds import derived_seed
from services.storage.job_claims import Commit, JobClaims
from shared_schemas.jobs import Job


class RunningJob:
    """One attempt at a job."""

    def __init__(self, job: Job, claims: JobClaims) -> None:
        self._job = job
        self._claims = claims
        self._is_committing = False
        self.progress = ProgressCounter(job)
        """What `stage`, `advance` and `spend` count."""
        self.is_finished = False
        """Whether a commit has finished it."""

    @property
    def id(self) -> int:
        """Which job it is, for a version's provenance."""
        return self._job.id

    @property
    def tenant(self) -> str:
        """On whose behalf it is done: the judge is asked, and the cache used, as this tenant."""
        return self._job.tenant

    @property
    def attempt(self) -> int:
        """1 for the first worker that does it, more for those that begin it again."""
        return self._job.attempt

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What was asked for."""
        return self._job.parameters

    @property
    def seed(self) -> int:
        """Everything random in it follows from this."""
        return self._job.seed

    def call_seed(self, stage: str, item: str | int) -> int:
        """The seed of one call or draw, 0 to 2³¹ - 1: the same in every attempt."""
        return derived_seed(self.seed, stage, item)

    def stage(self, name: str, total: int) -> None:
        """Begin a part of `total` items."""
        self.progress.stage(name, total)

    def advance(self, num_items: int = 1) -> None:
        """Some more items of the last stage are done. Raises `LookupError` before the first stage."""
        self.progress.advance(num_items)

    def spend(self, *, judge_calls: int, tokens: int) -> None:
        """Some more was paid for; remembered answers are not."""
        self.progress.spend(judge_calls=judge_calls, tokens=tokens)

    @asynccontextmanager
    async def commit(self) -> AsyncIterator[Commit]:
        """Publish, and finish the job, in one transaction:

            async with job.commit() as commit:
                version = await publish_version(commit.session, …)
                commit.finish({"version": version.version})

        Raises `StaleWorkerError` when the job is not this worker's any more and `JobCancelledError` when it was told to
        stop; let both pass. A finished job is over: `run` returns next, and what it returns is not used.
        """
        self._is_committing = True
        try:
            async with self._claims.committing(self._job, self.progress.now()) as commit:
                yield commit
            self.is_finished = commit.result is not None
        finally:
            self._is_committing = False

    @property
    def may_be_finished(self) -> bool:
        """Whether a commit has finished it, or may be doing so right now."""
        return self.is_finished or self._is_committing
