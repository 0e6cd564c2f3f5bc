"""`arr worker` as real processes that are killed, paused and stopped; and the worker inside the service."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from arr.worker import beside_the_service
from services.reward_api.app import create_app
from services.reward_api.settings import Settings
from services.rubric_worker.job_kinds import JobKinds
from services.rubric_worker.running_job import RunningJob
from services.storage.database import Database
from services.storage.jobs import JobRepository
from services.storage.rubrics import RubricRepository
from shared_schemas.jobs import Job, JobState

ROOT = Path(__file__).parents[2]
SHORT_LEASE = 2.0
"""Seconds; much longer than a busy machine may keep a process from running."""
LONG_LEASE = 600.0

StartWorker = Callable[..., "subprocess.Popen[bytes]"]
Condition = Callable[[Job], bool]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
async def database(data_dir: Path) -> AsyncIterator[Database]:
    database = await Database.open(f"sqlite+aiosqlite:///{data_dir / 'arr.db'}")
    yield database
    await database.close()


@pytest.fixture
def jobs(database: Database) -> JobRepository:
    return JobRepository(database)


@pytest.fixture
def start(data_dir: Path, database: Database) -> Iterator[StartWorker]:
    """`start()` starts a worker process; all are killed at the end, by their own process ids."""
    processes: list[subprocess.Popen[bytes]] = []

    def run(*, lease: float = SHORT_LEASE) -> "subprocess.Popen[bytes]":
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ARR_")}
        environment |= {"PYTHONPATH": str(ROOT), "ARR_WORKER_JOBS": "1"}
        environment |= {"ARR_JOB_LEASE_SECONDS": str(lease), "ARR_LOG_LEVEL": "WARNING"}
        command = ["worker", "--data-dir", str(data_dir), "--kinds", "tests.arr.counting_kinds:kinds"]
        with (data_dir / "stderr").open("ab") as log:
            process = subprocess.Popen([sys.executable, "-m", "arr.main", *command], env=environment, stderr=log)
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def until(jobs: JobRepository) -> Callable[..., Awaitable[Job]]:
    """`await until(job, condition)`: the job as soon as the condition holds for it; final unless one is given."""

    async def wait(job: Job, condition: Condition = lambda job: job.state.is_final, *, seconds: float = 60.0) -> Job:
        async with asyncio.timeout(seconds):
            while True:
                now = await jobs.get(job.id, tenant=None)
                assert now is not None
                if condition(now):
                    return now
                await asyncio.sleep(0.01)

    return wait


def lines(folder: Path) -> list[tuple[int, int, str]]:
    """What the jobs noted down: process id, attempt, item."""
    log = folder / "log"
    split = (line.split() for line in (log.read_text().splitlines() if log.exists() else ()))
    return [(int(pid), int(attempt), item) for pid, attempt, item in split]


async def wait_for_lines(folder: Path, num: int) -> list[tuple[int, int, str]]:
    async with asyncio.timeout(60):
        while len(found := lines(folder)) < num:  # noqa: ASYNC110 - another process writes them
            await asyncio.sleep(0.005)
    return found


async def test_a_job_whose_worker_is_killed_again_and_again_ends_with_the_same_digest(
    jobs: JobRepository, start: StartWorker, until, tmp_path: Path
) -> None:
    draw = random.Random(7)
    workers = {process.pid: process for process in (start(), start())}
    digests = []
    for number, kills in enumerate((3, 3, 2, 2, 0)):  # a job survives four lost workers
        folder = tmp_path / f"remembered-{number}"
        folder.mkdir()
        parameters = {"folder": str(folder), "items": 60, "name": "learned"}
        job, _ = await jobs.create("remember", tenant="a", parameters=parameters, seed=3)
        for kill in range(kills):
            done = await wait_for_lines(folder, len(lines(folder)) + draw.randint(1, 10))
            owner = workers.pop(done[-1][0])
            owner.kill()
            owner.wait()
            await until(job, lambda job, seen=kill + 1: job.attempt > seen or job.state.is_final)
            replacement = start()
            workers[replacement.pid] = replacement
        final = await until(job)
        assert (final.state, final.attempt) == (JobState.SUCCEEDED, kills + 1)
        assert final.result is not None
        digests.append(final.result["digest"])
        attempts = [attempt for _, attempt, _ in lines(folder)]
        assert attempts == sorted(attempts)  # nobody goes on once another has begun
        assert len({item for _, _, item in lines(folder)}) == 60
    assert len(set(digests)) == 1


async def test_a_paused_worker_that_comes_back_publishes_nothing(
    database: Database, jobs: JobRepository, start: StartWorker, until, tmp_path: Path
) -> None:
    job, _ = await jobs.create("stubborn", tenant="a", parameters={"folder": str(tmp_path), "name": "learned"})
    paused = start()
    await wait_for_lines(tmp_path, 1)
    paused.send_signal(signal.SIGSTOP)
    start()
    await until(job, lambda job: job.attempt == 2)  # past the lease
    (tmp_path / "go-1").touch()
    paused.send_signal(signal.SIGCONT)
    begun_and_refused = await wait_for_lines(tmp_path, 3)
    assert [(attempt, what) for _, attempt, what in begun_and_refused] == [(1, "begins"), (2, "begins"), (1, "refused")]
    (tmp_path / "go-2").touch()
    assert (await until(job)).state is JobState.SUCCEEDED
    versions = (await RubricRepository(database).versions("learned", limit=10)).items
    assert [version.provenance for version in versions] == [{"attempt": 2}]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_worker_that_is_stopped_hands_its_job_over_at_once(
    number: signal.Signals, jobs: JobRepository, start: StartWorker, until, tmp_path: Path
) -> None:
    parameters = {"folder": str(tmp_path), "items": 50, "name": "learned"}
    job, _ = await jobs.create("remember", tenant="a", parameters=parameters)
    first = start(lease=LONG_LEASE)
    await wait_for_lines(tmp_path, 1)
    start(lease=LONG_LEASE)
    first.send_signal(number)
    assert await asyncio.to_thread(first.wait, 20) == 0
    final = await until(job)
    assert (final.state, final.attempt) == (JobState.SUCCEEDED, 2)


async def test_ctrl_c_hands_over_also_what_computes_and_a_second_one_ends_the_process(
    jobs: JobRepository, start: StartWorker, until, tmp_path: Path
) -> None:
    job, _ = await jobs.create("compute", tenant="a", parameters={"folder": str(tmp_path)})
    first = start(lease=LONG_LEASE)
    await wait_for_lines(tmp_path, 1)
    first.send_signal(signal.SIGINT)
    await until(job, lambda job: job.state is JobState.QUEUED)
    start(lease=LONG_LEASE)
    assert (await until(job)).state is JobState.SUCCEEDED
    assert first.poll() is None  # its thread cannot be stopped
    first.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(first.wait, 20) == -signal.SIGINT


async def test_a_job_of_a_worker_process_is_cancelled_within_seconds(
    jobs: JobRepository, start: StartWorker, until, tmp_path: Path
) -> None:
    parameters = {"folder": str(tmp_path), "items": 10_000, "name": "learned"}
    job, _ = await jobs.create("remember", tenant="a", parameters=parameters)
    start(lease=LONG_LEASE)
    await wait_for_lines(tmp_path, 3)
    await jobs.cancel(job.id, tenant="a")
    final = await until(job, seconds=20)
    assert (final.state, final.reason) == (JobState.CANCELLED, "cancelled")
    assert final.judge_calls >= 3


def test_a_worker_with_a_wrong_setting_says_so_in_one_line(arr: Callable[..., Result], tmp_path: Path) -> None:
    result = arr("worker", "--data-dir", tmp_path, "--kinds", "nowhere:kinds")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: there are no kinds of jobs at 'nowhere:kinds'")
    assert result.stderr.count("\n") == 1


class Echo:
    async def run(self, job: RunningJob) -> Mapping[str, Any]:
        return {"said": job.parameters["say"]}


def echo_kinds(_services: object) -> JobKinds:
    return {"echo": Echo()}


async def test_the_service_does_jobs_in_its_own_process(
    data_dir: Path, jobs: JobRepository, until: Callable[..., Awaitable[Job]]
) -> None:
    app = create_app(Settings(data_dir=data_dir, canary_seconds=0.0), companion=beside_the_service(echo_kinds))
    async with app.router.lifespan_context(app):
        job, _ = await jobs.create("echo", tenant="a", parameters={"say": "hello"})
        final = await until(job)
    assert (final.state, final.result) == (JobState.SUCCEEDED, {"said": "hello"})


async def test_without_a_worker_jobs_wait(data_dir: Path, jobs: JobRepository) -> None:
    job, _ = await jobs.create("echo", tenant="a", parameters={"say": "hello"})
    app = create_app(Settings(data_dir=data_dir, canary_seconds=0.0))
    async with app.router.lifespan_context(app):
        pass
    waiting = await jobs.get(job.id, tenant="a")
    assert waiting is not None
    assert waiting.state is JobState.QUEUED
