"""The worker: claims jobs from the database, does them, keeps their leases, and gives them back when it has to stop.

Owns the life of a claim; what a job does is its kind's business. Nothing about a job is kept here: a worker that is
killed loses what it did since the last remembered answer, and no more.

The one rule: every way out ends the claim in the database (finished, released), or leaves it to lapse there.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import Any, TypeVar

import stamina
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnectionError

from services.rubric_worker.job_kinds import JobFailedError, JobKinds
from services.rubric_worker.running_job import RunningJob
from services.storage.errors import StaleWorkerError
from services.storage.job_claims import JobCancelledError, JobClaims
from services.storage.jobs import CANCELLED, Outcome
from shared_schemas.jobs import Job, JobReason, JobState
from shared_schemas.rubrics import json_digest

T = TypeVar("T")

_log = logging.getLogger(__name__)

LAST_WORDS = timedelta(seconds=10)
"""How long a job that is told to stop may take to do so."""

_DATABASE_AWAY = (OperationalError, InterfaceError, NoConnectionError)
"""What a database raises that cannot be reached, or not in time. Whatever else it raises is a bug."""

_INTERNAL_ERROR = Outcome(
    state=JobState.FAILED,
    reason=JobReason.INTERNAL_ERROR,
    detail="something went wrong in the worker; its log has the details under this job's id",
)
"""What is said about a bug: nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerLimits:
    """How a worker goes about it."""

    jobs_at_once: int = 1
    """Jobs under way together; they share one event loop."""
    lease: timedelta = timedelta(seconds=30)
    """How long a silent worker keeps a job; renewed three times as often."""
    max_lost: int = 5
    """A job that lost this many workers has failed: it may be what kills them."""
    idle: timedelta = timedelta(seconds=1)
    """Between two looks for a job."""
    heartbeat: timedelta = timedelta(milliseconds=200)
    """Between two looks at whether a job goes on; progress is written no more often."""


class _Interruption(Enum):
    """Why a job does not go on."""

    CANCELLED = auto()
    LOST = auto()


class Worker:
    """Does jobs until it is cancelled."""

    def __init__(self, claims: JobClaims, kinds: JobKinds, *, name: str, limits: WorkerLimits | None = None) -> None:
        """`name` is for people who look for this worker; it need not be unique."""
        self._claims = claims
        self._kinds = kinds
        self._name = name
        self._limits = limits or WorkerLimits()
        self._is_database_away = False

    async def run(self) -> None:
        """Claim jobs and do them. Cancelled, it gives back what is under way, for another worker to begin at once."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._limits.jobs_at_once):
                group.create_task(self._do_jobs())

    async def _do_jobs(self) -> None:
        while True:
            job = await self._claim()
            if job is None:
                await asyncio.sleep(self._limits.idle.total_seconds())
            else:
                await self._do(job)

    async def _claim(self) -> Job | None:
        """A job, if there is one; cancelled, it gives back what it was about to get."""
        claiming = asyncio.create_task(self._ask_for_job())
        try:
            return await _to_its_end(claiming)
        except asyncio.CancelledError:
            if (job := claiming.result()) is not None:
                await self._release(job, RunningJob(job, self._claims))
            raise

    async def _ask_for_job(self) -> Job | None:
        limits = self._limits
        try:
            job = await self._claims.claim(
                self._kinds.keys(), worker=self._name, lease=limits.lease, max_lost=limits.max_lost
            )
        except SQLAlchemyError:
            self._say_away("no job can be claimed: the database does not answer")
            return None
        self._is_database_away = False
        return job

    async def _do(self, job: Job) -> None:
        """One claim, from beginning to end."""
        _log.info("job begins", extra=_about(job))
        running = RunningJob(job, self._claims)
        work = asyncio.create_task(_run(self._kinds, job, running))
        heartbeat = asyncio.create_task(self._keep(job, running))
        try:
            await asyncio.wait({work, heartbeat}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _to_its_end(asyncio.create_task(self._end(job, running, work, heartbeat)))

    async def _end(
        self,
        job: Job,
        running: RunningJob,
        work: "asyncio.Task[Mapping[str, Any]]",
        heartbeat: "asyncio.Task[_Interruption]",
    ) -> None:
        """Stop what is still under way, and tell the database."""
        is_done, is_interrupted = work.done(), heartbeat.done()
        await _stop(work, heartbeat)
        interruption = heartbeat.result() if is_interrupted else None
        if running.is_finished:
            _log.info("job ends", extra=_about(job) | {"state": JobState.SUCCEEDED})
        elif interruption is _Interruption.LOST:
            _say_lost(job)
        elif interruption is _Interruption.CANCELLED:
            await self._finish(job, running, CANCELLED)
        elif is_done and _has_lost_database(work):
            _log.error(
                "the job has lost the database; its lease will lapse", exc_info=work.exception(), extra=_about(job)
            )
        elif is_done:
            await self._finish(job, running, _outcome(work, job))
        else:  # this worker has to stop
            await self._release(job, running)

    async def _keep(self, job: Job, running: RunningJob) -> _Interruption:
        """Renew the lease, write progress and listen; returns when the job does not go on."""
        written_at = time.monotonic()
        while True:
            await asyncio.sleep(self._limits.heartbeat.total_seconds())
            is_due = time.monotonic() - written_at >= self._limits.lease.total_seconds() / 3
            try:
                if is_due or running.progress.is_news:
                    is_cancelled = await self._write(job, running)
                    written_at = time.monotonic()
                else:
                    is_cancelled = await self._claims.is_cancel_requested(job)
            except StaleWorkerError:
                if running.may_be_finished:
                    continue
                return _Interruption.LOST
            except SQLAlchemyError:
                self._say_away("the job's lease cannot be renewed: the database does not answer", job)
                continue
            self._is_database_away = False
            if is_cancelled:
                return _Interruption.CANCELLED

    async def _write(self, job: Job, running: RunningJob) -> bool:
        progress = running.progress.now()
        is_cancelled = await self._claims.report(job, progress, lease=self._limits.lease)
        running.progress.written(progress)
        return is_cancelled

    async def _finish(self, job: Job, running: RunningJob, outcome: Outcome | None) -> None:
        """Write down how it ended; none = it is not ours to say."""
        if outcome is None:
            _say_lost(job)
            return
        trying = stamina.AsyncRetryingCaller(attempts=None, timeout=self._limits.lease)
        try:
            # No arguments: stamina would write their `repr` into the log of every retry.
            final = await trying(SQLAlchemyError, lambda: self._claims.finish(job, outcome, running.progress.now()))
        except StaleWorkerError:
            _say_lost(job)
        except SQLAlchemyError:
            _log.exception("the end of the job cannot be written; its lease will lapse", extra=_about(job))
        else:
            _log.info("job ends", extra=_about(job) | {"state": final.state, "reason": final.reason})

    async def _release(self, job: Job, running: RunningJob) -> None:
        try:
            await self._claims.release(job, running.progress.now())
        except StaleWorkerError:
            _say_lost(job)
        except SQLAlchemyError:
            _log.exception("the job cannot be given back; its lease will lapse", extra=_about(job))
        else:
            _log.info("job given back", extra=_about(job))

    def _say_away(self, what: str, job: Job | None = None) -> None:
        """In an `except` block: say it, but not several times a second until the database answers."""
        if not self._is_database_away:
            _log.exception(what, extra={} if job is None else _about(job))
        self._is_database_away = True


async def _to_its_end(task: "asyncio.Task[T]") -> T:
    """What the task returns; cancelled, it waits for that all the same before it is."""
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


async def _run(kinds: JobKinds, job: Job, running: RunningJob) -> Mapping[str, Any]:
    result = await kinds[job.kind].run(running)
    if not running.is_finished:
        json_digest(result)  # raises for what is no JSON
    return result


async def _stop(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel them and wait until they have ended, for those that ignore it not for ever."""
    for task in tasks:
        task.cancel()
    _, ignoring = await asyncio.wait(tasks, timeout=LAST_WORDS.total_seconds())
    if ignoring:
        _log.error("a job goes on although it was told to stop")


def _has_lost_database(work: "asyncio.Task[Mapping[str, Any]]") -> bool:
    """Whether that is why it has ended, so that another attempt may do better."""
    return not work.cancelled() and isinstance(work.exception(), _DATABASE_AWAY)


def _outcome(work: "asyncio.Task[Mapping[str, Any]]", job: Job) -> Outcome | None:
    """What to write about work that has ended; none = it found out that the job is not its own any more."""
    if work.cancelled():
        _log.error("the job cancelled itself", extra=_about(job))
        return _INTERNAL_ERROR
    match work.exception():
        case None:
            return Outcome(state=JobState.SUCCEEDED, result=work.result())
        case JobFailedError() as error:
            return Outcome(state=JobState.FAILED, reason=error.reason, detail=error.detail, result=error.evidence)
        case JobCancelledError():
            return CANCELLED
        case StaleWorkerError():
            return None
        case error:
            _log.error("the job failed", exc_info=error, extra=_about(job))
            return _INTERNAL_ERROR


def _say_lost(job: Job) -> None:
    _log.warning("job lost: another worker has it, or it is over", extra=_about(job))


def _about(job: Job) -> dict[str, object]:
    return {"job": job.id, "kind": job.kind, "attempt": job.attempt}
