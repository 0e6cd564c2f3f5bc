"""Jobs as those see them who asked for them: created, read, listed, cancelled.

Owns the rows and what is visible to whom. What a worker does with them is `job_claims`'. The one rule: a final job
never changes again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from services.storage.clock import database_now
from services.storage.database import Database
from services.storage.tables import JobRow
from shared_schemas.jobs import Job, JobError, JobPage, JobReason, JobStage, JobState
from shared_schemas.rubrics import json_digest


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a job ended."""

    state: JobState
    """One of the final ones."""
    reason: str | None = None
    """Slug, unless it succeeded."""
    detail: str | None = None
    """A sentence, when it failed."""
    result: Mapping[str, Any] | None = None
    """What came of it: JSON."""


CANCELLED = Outcome(state=JobState.CANCELLED, reason=JobReason.CANCELLED)
"""How every job ends that was told to stop in time."""


class JobRepository:
    """All jobs of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, kind: str, *, tenant: str, parameters: Mapping[str, Any], seed: int = 0) -> tuple[Job, bool]:
        """Queue a job; returns it and whether it is new.

        A tenant's equal job that is neither final nor told to stop is given back instead: a request that is sent again
        after its answer was lost starts nothing twice. Raises `ValueError` for parameters that are no JSON.
        """
        digest = json_digest({"kind": kind, "parameters": parameters, "seed": seed})
        equal = and_(JobRow.tenant == tenant, JobRow.request_digest == digest, ~JobRow.cancel_requested)
        async with self._database.writing() as session:
            await _take_turns(session, f"{tenant} {digest}")
            under_way = await session.scalar(select(JobRow).where(equal, is_unfinished()).limit(1))
            if under_way is not None:
                return job_of(under_way), False
            row = JobRow(
                created=await database_now(session),
                kind=kind,
                tenant=tenant,
                parameters=dict(parameters),
                seed=seed,
                request_digest=digest,
                state=JobState.QUEUED,
                cancel_requested=False,
                attempt=0,
                num_lost=0,
                stages=[],
                judge_calls=0,
                tokens=0,
                revision=1,
            )
            session.add(row)
            await session.flush()
            return job_of(row), True

    async def get(self, id: int, *, tenant: str | None) -> Job | None:
        """One job; none when there is none, or it is not `tenant`'s (none = any tenant's)."""
        async with self._database.reading() as session:
            row = await _visible(session, id, tenant=tenant)
            return None if row is None else job_of(row)

    async def page(
        self,
        *,
        tenant: str | None,
        state: JobState | None = None,
        kind: str | None = None,
        before: int | None = None,
        limit: int,
    ) -> JobPage:
        """Up to `limit` jobs, newest first, those with ids below `before`. `tenant` none = of all tenants."""
        query = select(JobRow).order_by(JobRow.id.desc()).limit(limit + 1)
        for column, wanted in ((JobRow.tenant, tenant), (JobRow.state, state), (JobRow.kind, kind)):
            if wanted is not None:
                query = query.where(column == wanted)
        if before is not None:
            query = query.where(JobRow.id < before)
        async with self._database.reading() as session:
            rows = (await session.scalars(query)).all()
        items = tuple(job_of(row) for row in rows[:limit])
        return JobPage(items=items, next=items[-1].id if len(rows) > limit else None)

    async def cancel(self, id: int, *, tenant: str | None) -> Job | None:
        """Tell a job to stop; none as in `get`. A final job stays as it is.

        One that nobody works on is final at once; a worker that does hears of it within seconds.
        """
        async with self._database.writing() as session:
            row = await _visible(session, id, tenant=tenant, for_update=True)
            if row is None:
                return None
            if not row.cancel_requested and not JobState(row.state).is_final:
                now = await database_now(session)
                row.cancel_requested = True
                row.revision += 1
                if row.lease_until is None or row.lease_until <= now:
                    conclude(row, CANCELLED, now=now)
            return job_of(row)


def is_unfinished() -> ColumnElement[bool]:
    """The condition that something may still happen to a job."""
    return JobRow.state.in_([state for state in JobState if not state.is_final])


def conclude(row: JobRow, outcome: Outcome, *, now: datetime) -> None:
    """Make a job final."""
    row.state, row.reason, row.error_detail = outcome.state, outcome.reason, outcome.detail
    row.result = None if outcome.result is None else dict(outcome.result)
    row.finished, row.lease_until = now, None
    row.revision += 1


def job_of(row: JobRow) -> Job:
    """A row as everybody else knows it."""
    state = JobState(row.state)
    failed = state is JobState.FAILED and row.reason is not None
    return Job(
        id=row.id,
        kind=row.kind,
        tenant=row.tenant,
        state=state,
        reason=row.reason,
        cancel_requested=row.cancel_requested,
        stages=tuple(JobStage.model_validate(stage) for stage in row.stages),
        judge_calls=row.judge_calls,
        tokens=row.tokens,
        attempt=row.attempt,
        created=row.created,
        started=row.started,
        finished=row.finished,
        seed=row.seed,
        parameters=row.parameters,
        result=row.result,
        error=JobError(type=row.reason or "", detail=row.error_detail or "") if failed else None,
        revision=row.revision,
    )


async def _take_turns(session: AsyncSession, key: str) -> None:
    """Wait until no other transaction holds the key; this one does to its end. SQLite's writers take turns anyway."""
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0))))


async def _visible(session: AsyncSession, id: int, *, tenant: str | None, for_update: bool = False) -> JobRow | None:
    row = await session.get(JobRow, id, with_for_update=for_update)
    return None if row is None or tenant not in {None, row.tenant} else row
