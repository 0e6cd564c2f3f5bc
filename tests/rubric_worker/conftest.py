import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from services.rubric_worker.running_job import RunningJob
from services.rubric_worker.worker import Worker, WorkerLimits
from services.storage.database import Database
from services.storage.job_claims import JobClaims
from services.storage.jobs import JobRepository
from shared_schemas.jobs import Job

QUICK = WorkerLimits(
    jobs_at_once=2,
    lease=timedelta(seconds=20),
    idle=timedelta(milliseconds=5),
    heartbeat=timedelta(milliseconds=5),
)


class Kind:
    """A kind of job that is one function."""

    def __init__(self, run: Callable[[RunningJob], Coroutine[Any, Any, Mapping[str, Any]]]) -> None:
        self._run = run

    async def run(self, job: RunningJob) -> Mapping[str, Any]:
        return await self._run(job)


Working = Callable[..., AbstractAsyncContextManager["asyncio.Task[None]"]]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url)
    yield database
    await database.close()


@pytest.fixture
def jobs(database: Database) -> JobRepository:
    return JobRepository(database)


@pytest.fixture
def working(database: Database) -> Working:
    """`async with working(count=function) as task`: a worker does jobs of these kinds until the block ends."""

    @asynccontextmanager
    async def work(limits: WorkerLimits = QUICK, **kinds: Any) -> AsyncIterator["asyncio.Task[None]"]:
        worker = Worker(
            JobClaims(database), {name: Kind(run) for name, run in kinds.items()}, name="test", limits=limits
        )
        task = asyncio.create_task(worker.run())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return work


@pytest.fixture
def until(jobs: JobRepository) -> Callable[..., Awaitable[Job]]:
    """`await until(job, condition)`: the job as soon as the condition holds for it; final unless one is given."""

    async def wait(job: Job, condition: Callable[[Job], bool] = lambda job: job.state.is_final) -> Job:
        async with asyncio.timeout(30):
            while True:
                now = await jobs.get(job.id, tenant=None)
                assert now is not None
                if condition(now):
                    return now
                await asyncio.sleep(0.005)

    return wait


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Wait until a condition holds, fail after thirty seconds."""

    async def wait(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110 - a log has no events
                await asyncio.sleep(0.005)

    return wait
