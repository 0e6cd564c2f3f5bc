"""Jobs as workers see them: claimed for a while, worked on, given back or finished.

Owns leases and fencing; knows nothing of what a job does. A claim is the `Job` as `claim` returned it: its `attempt`
is the fencing token, a number that only grows and that no two claims share.

The one rule: whatever a worker writes is checked against the job's present attempt in the same transaction, so a worker
that was thought dead can do no harm when it comes back.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from services.storage.clock import database_now
from services.storage.database import Database
from services.storage.errors import StaleWorkerError
from services.storage.jobs import CANCELLED, Outcome, conclude, job_of
from services.storage.tables import JobRow
from shared_schemas.jobs import Job, JobReason, JobStage, JobState
from shared_schemas.rubrics import json_digest


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a job is. All numbers are absolute, so writing them twice changes nothing."""

    stages: tuple[JobStage, ...]
    """The parts begun so far."""
    judge_calls: int
    """Calls paid for, those of earlier attempts included."""
    tokens: int
    """Tokens read and written, those of earlier attempts included."""


class JobCancelledError(Exception):
    """The job was told to stop, so nothing of it may be published."""


class Commit:
    """A transaction in which a job's worker may publish, and finish the job."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session
        """For all that belongs together; a repository that opens a transaction of its own would wait for ever."""
        self.result: Mapping[str, Any] | None = None
        """What the job is finished with when the transaction is; none = it goes on."""

    def finish(self, result: Mapping[str, Any]) -> None:
        """The job has succeeded, if the transaction does. Raises `ValueError` when `result` is no JSON."""
        json_digest(result)
        self.result = result


class JobClaims:
    """The workers' side of all jobs of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, kinds: Collection[str], *, worker: str, lease: timedelta, max_lost: int) -> Job | None:
        """The oldest job of these kinds that waits or whose lease has lapsed, now this worker's; none = there is none.

        Jobs in the way that were told to stop, or that have lost `max_lost` workers, are made final.
        """
        if not await self._is_there_any(kinds):
            return None
        async with self._database.writing() as session:
            now = await database_now(session)
            # On SQLite a writer is alone; elsewhere the row is locked, and what others have locked is passed over.
            oldest = _claimable(kinds, now=now).with_for_update(skip_locked=True)
            while (row := (await session.scalars(oldest)).first()) is not None:
                row.num_lost += row.state == JobState.RUNNING
                if row.cancel_requested:
                    conclude(row, CANCELLED, now=now)
                elif row.num_lost >= max_lost:
                    conclude(row, _given_up(row), now=now)
                else:
                    return _start(row, worker=worker, now=now, lease=lease)
        return None

    async def report(self, job: Job, progress: Progress, *, lease: timedelta) -> bool:
        """Write the progress and renew the lease; true = the job was told to stop. Raises `StaleWorkerError`."""
        async with self._owned(job) as (session, row):
            if _write(row, progress):
                row.revision += 1
            row.lease_until = await database_now(session) + lease
            return row.cancel_requested

    async def is_cancel_requested(self, job: Job) -> bool:
        """Whether the job was told to stop, without writing anything. Raises `StaleWorkerError`."""
        async with self._database.reading() as session:
            row = await session.get(JobRow, job.id)
            return _check_owner(row, job).cancel_requested

    @asynccontextmanager
    async def committing(self, job: Job, progress: Progress) -> AsyncIterator[Commit]:
        """One transaction that only the job's worker can make; see `Commit`.

        Raises `StaleWorkerError` and, when the job was told to stop, `JobCancelledError`; nothing is written then.
        """
        async with self._owned(job) as (session, row):
            if row.cancel_requested:
                raise JobCancelledError
            commit = Commit(session)
            yield commit
            if commit.result is not None:
                _write(row, progress)
                outcome = Outcome(state=JobState.SUCCEEDED, result=commit.result)
                conclude(row, outcome, now=await database_now(session))

    async def finish(self, job: Job, outcome: Outcome, progress: Progress) -> Job:
        """Make the job final: with this outcome, or cancelled when it was told to stop. Raises `StaleWorkerError`."""
        async with self._owned(job) as (session, row):
            _write(row, progress)
            conclude(row, CANCELLED if row.cancel_requested else outcome, now=await database_now(session))
            return job_of(row)

    async def release(self, job: Job, progress: Progress) -> Job:
        """Give the job back, for another worker to begin again at once. Raises `StaleWorkerError`."""
        async with self._owned(job) as (session, row):
            _write(row, progress)
            if row.cancel_requested:
                conclude(row, CANCELLED, now=await database_now(session))
            else:
                row.state, row.worker, row.lease_until = JobState.QUEUED, None, None
                row.revision += 1
            return job_of(row)

    async def _is_there_any(self, kinds: Collection[str]) -> bool:
        """A look is cheap and blocks nobody; a claim takes its turn among the writers."""
        async with self._database.reading() as session:
            found = await session.scalars(_claimable(kinds, now=await database_now(session)))
            return found.first() is not None

    @asynccontextmanager
    async def _owned(self, job: Job) -> AsyncIterator[tuple[AsyncSession, JobRow]]:
        """A transaction and the job's row, locked. Raises `StaleWorkerError` unless the claim still holds."""
        async with self._database.writing() as session:
            row = await session.get(JobRow, job.id, with_for_update=True)
            yield session, _check_owner(row, job)


def _check_owner(row: JobRow | None, job: Job) -> JobRow:
    if row is None or row.state != JobState.RUNNING or row.attempt != job.attempt:
        raise StaleWorkerError(f"attempt {job.attempt} at job {job.id} is over")
    return row


def _claimable(kinds: Collection[str], *, now: datetime) -> Select[JobRow]:
    lapsed = and_(JobRow.state == JobState.RUNNING, JobRow.lease_until <= now)
    query = select(JobRow).where(JobRow.kind.in_(kinds), or_(JobRow.state == JobState.QUEUED, lapsed))
    return query.order_by(JobRow.id).limit(1)


def _start(row: JobRow, *, worker: str, now: datetime, lease: timedelta) -> Job:
    row.state, row.worker, row.lease_until = JobState.RUNNING, worker, now + lease
    row.attempt += 1
    row.started = row.started or now
    row.stages = []
    row.revision += 1
    return job_of(row)


def _write(row: JobRow, progress: Progress) -> bool:
    """True = something changed."""
    new = ([stage.model_dump() for stage in progress.stages], progress.judge_calls, progress.tokens)
    if new == (row.stages, row.judge_calls, row.tokens):
        return False
    row.stages, row.judge_calls, row.tokens = new
    return True


def _given_up(row: JobRow) -> Outcome:
    detail = f"{row.num_lost} workers were lost, or lost the database, while they worked on it"
    return Outcome(state=JobState.FAILED, reason=JobReason.WORKER_LOST, detail=detail)
