"""Jobs through both clients, against the real service with a worker in its process."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from arr.worker import beside_the_service
from reward_client import AsyncRewardClient, RequestRejected, RewardClient
from reward_client.jobs import LOOK_EVERY, JobWatch
from services.reward_api.app import create_app
from services.reward_api.settings import Settings
from services.rubric_worker.job_kinds import JobKinds
from services.rubric_worker.running_job import RunningJob
from services.storage.database import Database
from services.storage.jobs import JobRepository
from shared_schemas.jobs import Job, JobState


class Count:
    async def run(self, job: RunningJob) -> Mapping[str, Any]:
        job.stage("counting", 2)
        job.advance(2)
        return {"counted": 2}


class Wait:
    async def run(self, job: RunningJob) -> Mapping[str, Any]:
        await asyncio.Event().wait()
        return {}


def kinds(_services: object) -> JobKinds:
    return {"count": Count(), "wait": Wait()}


@pytest.fixture
def app(tmp_path: Path) -> ASGIApp:
    return create_app(Settings(data_dir=tmp_path, canary_seconds=0.0), companion=beside_the_service(kinds))


@pytest.fixture
def client(app: ASGIApp, serve: Callable[[ASGIApp], str]) -> Iterator[RewardClient]:
    with RewardClient(serve(app)) as client:
        yield client


@pytest.fixture
async def async_client(app: Any) -> AsyncIterator[AsyncRewardClient]:
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "state": dict(state or {})}, receive, send)

        async with AsyncRewardClient("http://localhost", transport=httpx.ASGITransport(with_state)) as client:
            yield client


async def ask_for(tmp_path: Path, kind: str, tenant: str = "local", **parameters: Any) -> Job:
    """Create a job behind the service's back: no call of its own starts one of these kinds."""
    database = await Database.open(f"sqlite+aiosqlite:///{tmp_path / 'arr.db'}")
    job, _ = await JobRepository(database).create(kind, tenant=tenant, parameters=parameters)
    await database.close()
    return job


def test_waiting_for_a_job_ends_with_its_result(client: RewardClient, tmp_path: Path) -> None:
    job = asyncio.run(ask_for(tmp_path, "count"))
    seen: list[Job] = []
    final = client.wait_for_job(job.id, on_progress=seen.append)
    assert (final.state, final.result) == (JobState.SUCCEEDED, {"counted": 2})
    assert [(stage.name, stage.done, stage.total) for stage in final.stages] == [("counting", 2, 2)]
    assert seen[-1] == final == client.job(job.id)
    assert [job.revision for job in seen] == sorted({job.revision for job in seen})


def test_a_cancelled_job_is_returned_like_any_other(client: RewardClient, tmp_path: Path) -> None:
    job = asyncio.run(ask_for(tmp_path, "wait"))
    assert client.cancel_job(job.id).cancel_requested
    final = client.wait_for_job(job.id)
    assert (final.state, final.reason) == (JobState.CANCELLED, "cancelled")


def test_nobody_waits_longer_than_wished(client: RewardClient, tmp_path: Path) -> None:
    job = asyncio.run(ask_for(tmp_path, "wait"))
    with pytest.raises(TimeoutError, match=f"job {job.id} is still"):
        client.wait_for_job(job.id, deadline=timedelta(0))


def test_jobs_are_listed_over_all_pages_and_by_state_and_kind(client: RewardClient, tmp_path: Path) -> None:
    async def create() -> list[int]:
        return [(await ask_for(tmp_path, "unknown", n=n)).id for n in range(53)]

    ids = asyncio.run(create())
    assert [job.id for job in client.jobs()] == ids[::-1]
    client.cancel_job(ids[7])
    assert [job.id for job in client.jobs(state=JobState.CANCELLED, kind="unknown")] == [ids[7]]
    assert list(client.jobs(kind="count")) == []


def test_an_unknown_job_is_a_refusal(client: RewardClient) -> None:
    with pytest.raises(RequestRejected) as caught:
        client.job(1)
    assert caught.value.problem.slug == "unknown-job"


async def test_the_asyncio_client_does_the_same(async_client: AsyncRewardClient, tmp_path: Path) -> None:
    waiting, counting = await ask_for(tmp_path, "wait"), await ask_for(tmp_path, "count")
    final = await async_client.wait_for_job(counting.id)
    assert final.result == {"counted": 2}
    assert [job.id async for job in async_client.jobs(kind="wait")] == [waiting.id]
    with pytest.raises(TimeoutError):
        await async_client.wait_for_job(waiting.id, deadline=timedelta(0))
    await async_client.cancel_job(waiting.id)
    assert (await async_client.wait_for_job(waiting.id)).state is JobState.CANCELLED
    assert (await async_client.job(counting.id)) == final


@dataclass
class Clock:
    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Listener:
    revisions: list[int] = field(default_factory=list)

    def __call__(self, job: Job) -> None:
        self.revisions.append(job.revision)


def a_job(revision: int, state: JobState = JobState.RUNNING) -> Job:
    nothing: dict[str, Any] = {"reason": None, "started": None, "finished": None, "result": None, "error": None}
    return Job(
        **nothing,
        **{"id": 1, "kind": "count", "tenant": "local", "state": state, "cancel_requested": False, "stages": ()},
        **{"judge_calls": 0, "tokens": 0, "attempt": 1, "created": datetime.now(UTC), "seed": 0, "parameters": {}},
        revision=revision,
    )


def test_each_change_is_told_once_and_the_last_look_is_the_final_one() -> None:
    listener = Listener()
    watch = JobWatch(listener, deadline=None)
    looks = [watch.look(job) for job in (a_job(1), a_job(1), a_job(4), a_job(5, JobState.SUCCEEDED))]
    assert looks == [LOOK_EVERY, LOOK_EVERY, LOOK_EVERY, None]
    assert listener.revisions == [1, 4, 5]


def test_a_job_that_ends_at_the_last_moment_is_no_timeout() -> None:
    clock = Clock()
    watch = JobWatch(Listener(), deadline=timedelta(seconds=10), clock=clock)
    clock.seconds = 9.9
    assert watch.look(a_job(1)) == LOOK_EVERY
    clock.seconds = 10.1
    assert watch.look(a_job(2, JobState.SUCCEEDED)) is None
    with pytest.raises(TimeoutError):
        watch.look(a_job(3))
