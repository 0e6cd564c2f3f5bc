"""Two workers on one PostgreSQL: who does which job, and what becomes of those of one that is killed or stopped."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from services.storage.database import Database
from services.storage.jobs import JobRepository
from shared_schemas.jobs import Job, JobState
from tests.postgres_server import PostgresServer
from tests.stack.running_stack import ROOT

LEASE_SECONDS = 3.0
"""Much longer than a busy machine may keep a process from running."""

Start = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.new_database()


@pytest.fixture
async def jobs(url: str) -> AsyncIterator[JobRepository]:
    database = await Database.open(url)
    yield JobRepository(database)
    await database.close()


@pytest.fixture
def start(url: str, tmp_path: Path) -> Iterator[Start]:
    """`start()` starts a worker that does one job at a time; all are killed at the end, by their own process ids."""
    processes: list[subprocess.Popen[bytes]] = []

    def run() -> "subprocess.Popen[bytes]":
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ARR_")}
        environment |= {"PYTHONPATH": str(ROOT), "ARR_DATABASE_URL": url, "ARR_WORKER_JOBS": "1"}
        environment |= {"ARR_JOB_LEASE_SECONDS": str(LEASE_SECONDS), "ARR_LOG_LEVEL": "WARNING"}
        command = ["worker", "--data-dir", str(tmp_path / "data"), "--kinds", "tests.arr.counting_kinds:kinds"]
        processes.append(subprocess.Popen([sys.executable, "-m", "arr.main", *command], env=environment))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.wait()


async def create(jobs: JobRepository, folder: Path, *, items: int) -> Job:
    await asyncio.to_thread(folder.mkdir)
    parameters = {"folder": str(folder), "items": items, "name": folder.name}
    return (await jobs.create("remember", tenant="a", parameters=parameters))[0]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what other processes do."""
    async with asyncio.timeout(120):
        while not condition():  # noqa: ASYNC110 - other processes make it true
            await asyncio.sleep(0.02)


async def finished(jobs: JobRepository, job: Job) -> Job:
    """The job once it is final."""
    async with asyncio.timeout(120):
        while True:
            now = await jobs.get(job.id, tenant=None)
            assert now is not None
            if now.state.is_final:
                return now
            await asyncio.sleep(0.02)


def lines(folder: Path) -> list[tuple[int, int]]:
    """Who did each item: process id, attempt."""
    log = folder / "log"
    split = (line.split() for line in (log.read_text().splitlines() if log.exists() else ()))
    return [(int(pid), int(attempt)) for pid, attempt, _ in split]


async def test_two_workers_share_jobs_and_each_job_has_one_worker(
    jobs: JobRepository, start: Start, tmp_path: Path
) -> None:
    workers = {start().pid, start().pid}
    made = [await create(jobs, tmp_path / f"job-{number}", items=20) for number in range(6)]
    # Neither may find all work done by the other because it started later on a busy machine.
    first = [await create(jobs, tmp_path / f"long-{number}", items=100_000) for number in range(2)]
    await until(lambda: all(lines(tmp_path / f"long-{number}") for number in range(2)))
    done_by = []
    for job in made:
        final = await finished(jobs, job)
        assert (final.state, final.attempt) == (JobState.SUCCEEDED, 1)
        folder = Path(job.parameters["folder"])
        (who,) = set(lines(folder))  # one process, one attempt
        done_by.append(who[0])
        assert len(lines(folder)) == 20
    assert set(done_by) <= workers
    assert {lines(tmp_path / f"long-{number}")[0][0] for number in range(2)} == workers
    for job in first:
        await jobs.cancel(job.id, tenant=None)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_the_job_of_a_worker_that_is_gone_goes_to_the_other_one(
    number: signal.Signals, jobs: JobRepository, start: Start, tmp_path: Path
) -> None:
    workers = {process.pid: process for process in (start(), start())}
    folder = tmp_path / "job"
    job = await create(jobs, folder, items=60)
    await until(lambda: len(lines(folder)) >= 3)
    owner = workers.pop(lines(folder)[0][0])
    owner.send_signal(number)
    (other,) = workers
    await until(lambda: lines(folder)[-1] == (other, 2))

    final = await finished(jobs, job)
    assert (final.state, final.attempt) == (JobState.SUCCEEDED, 2)
    assert len(lines(folder)) == 60  # nothing was done twice
