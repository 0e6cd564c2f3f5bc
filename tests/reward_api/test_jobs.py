"""`/jobs` over HTTP: who sees what, how a job is followed, how it is stopped."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.reward_api.api_keys import KeyFile
from services.reward_api.app import create_app
from services.reward_api.settings import Settings
from services.storage.database import Database
from services.storage.job_claims import JobClaims, Progress
from services.storage.jobs import JobRepository, Outcome
from shared_schemas.access import Scope
from shared_schemas.jobs import Job, JobPage, JobStage, JobState

LONG = timedelta(hours=1)
NOTHING = Progress(stages=(), judge_calls=0, tokens=0)
HALF = Progress(stages=(JobStage(name="counting", done=1, total=2),), judge_calls=3, tokens=40)
SUCCESS = Outcome(state=JobState.SUCCEEDED, result={"counted": 2})


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """The database of the service, as a worker has it open."""
    database = await Database.open(f"sqlite+aiosqlite:///{tmp_path / 'arr.db'}")
    yield database
    await database.close()


@pytest.fixture
def jobs(database: Database) -> JobRepository:
    return JobRepository(database)


@pytest.fixture
def claims(database: Database) -> JobClaims:
    return JobClaims(database)


async def claim(claims: JobClaims) -> Job:
    job = await claims.claim({"count"}, worker="w", lease=LONG, max_lost=5)
    assert job is not None
    return job


@dataclass(frozen=True)
class Event:
    kind: str
    id: int
    job: Job


def events_of(stream: str) -> list[Event]:
    """Read a stream by the rules of server-sent events: blocks of `field: value` lines, comments skipped."""
    events = []
    for block in stream.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            job = Job.model_validate(json.loads(fields["data"]))
            events.append(Event(kind=fields["event"], id=int(fields["id"]), job=job))
    return events


async def test_a_job_is_read_by_its_id(service: httpx.AsyncClient, jobs: JobRepository) -> None:
    job, _ = await jobs.create("count", tenant="local", parameters={"to": 2}, seed=9)
    answer = await service.get(f"/jobs/{job.id}")
    assert answer.status_code == 200
    assert Job.model_validate_json(answer.content) == job
    assert answer.json()["state"] == "queued"


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/events"), ("POST", "/cancel")])
async def test_there_is_nothing_to_see_of_a_job_that_is_not_there(
    service: httpx.AsyncClient, method: str, path: str
) -> None:
    answer = await service.request(method, f"/jobs/17{path}")
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/unknown-job")


async def test_jobs_are_listed_in_pages_and_by_state_and_kind(service: httpx.AsyncClient, jobs: JobRepository) -> None:
    ids = [(await jobs.create("count", tenant="local", parameters={"n": n}))[0].id for n in range(3)]
    await jobs.cancel(ids[0], tenant="local")
    first = JobPage.model_validate_json((await service.get("/jobs", params={"limit": 2})).content)
    last = JobPage.model_validate_json((await service.get("/jobs", params={"before": first.next or 0})).content)
    assert [[job.id for job in page.items] for page in (first, last)] == [[ids[2], ids[1]], [ids[0]]]
    cancelled = await service.get("/jobs", params={"state": "cancelled", "kind": "count"})
    assert [job["id"] for job in cancelled.json()["items"]] == [ids[0]]
    assert (await service.get("/jobs", params={"kind": "learn"})).json()["items"] == []
    assert (await service.get("/jobs", params={"state": "asleep"})).status_code == 422


async def test_a_waiting_job_is_cancelled_at_once_and_only_once(
    service: httpx.AsyncClient, jobs: JobRepository
) -> None:
    job, _ = await jobs.create("count", tenant="local", parameters={})
    first, second = [await service.post(f"/jobs/{job.id}/cancel") for _ in range(2)]
    assert (first.status_code, first.json()["state"], first.json()["reason"]) == (200, "cancelled", "cancelled")
    assert second.json() == first.json()


async def test_a_running_job_is_told_to_stop(
    service: httpx.AsyncClient, jobs: JobRepository, claims: JobClaims
) -> None:
    await jobs.create("count", tenant="local", parameters={})
    job = await claim(claims)
    answer = (await service.post(f"/jobs/{job.id}/cancel")).json()
    assert (answer["state"], answer["cancel_requested"]) == ("running", True)
    assert await claims.is_cancel_requested(job)


async def test_a_job_is_followed_to_its_end(
    jobs: JobRepository, claims: JobClaims, serving: Any, tmp_path: Path
) -> None:
    await jobs.create("count", tenant="local", parameters={})
    job = await claim(claims)
    with serving(create_app(Settings(data_dir=tmp_path, canary_seconds=0.0))) as url:
        async with httpx.AsyncClient(base_url=url) as client, client.stream("GET", f"/jobs/{job.id}/events") as answer:
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            assert answer.headers["Cache-Control"] == "no-cache"
            text, steps = "", iter(("report", "finish"))
            async for chunk in answer.aiter_text():
                text += chunk
                if "event: job" not in chunk:
                    continue
                match next(steps, None):
                    case "report":
                        await claims.report(job, HALF, lease=LONG)
                    case "finish":
                        await claims.finish(job, SUCCESS, HALF)
    running, halfway, final = events_of(text)
    assert {event.kind for event in (running, halfway, final)} == {"job"}
    assert [event.job.state for event in (running, halfway, final)] == ["running", "running", "succeeded"]
    assert (halfway.job.stages, halfway.job.judge_calls) == (HALF.stages, 3)
    assert final.job.result == {"counted": 2}
    assert [event.id for event in (running, halfway, final)] == [running.id, running.id + 1, running.id + 2]


async def test_a_stream_goes_on_where_it_was_cut(
    service: httpx.AsyncClient, jobs: JobRepository, claims: JobClaims
) -> None:
    await jobs.create("count", tenant="local", parameters={})
    job = await claim(claims)
    await claims.report(job, HALF, lease=LONG)
    final = await claims.finish(job, SUCCESS, HALF)

    async def after(event_id: int) -> list[Event]:
        answer = await service.get(f"/jobs/{job.id}/events", headers={"Last-Event-ID": str(event_id)})
        return events_of(answer.text)

    assert [event.job for event in await after(job.revision)] == [final]
    assert await after(final.revision) == []


async def test_what_is_no_event_id_is_refused(service: httpx.AsyncClient, jobs: JobRepository) -> None:
    job, _ = await jobs.create("count", tenant="local", parameters={})
    answer = await service.get(f"/jobs/{job.id}/events", headers={"Last-Event-ID": "yesterday"})
    assert answer.status_code == 422
    assert answer.json()["type"] == "/problems/invalid-request"


@contextmanager
def listening(url: str, **headers: str) -> Iterator[threading.Event]:
    """Read a stream on a thread until it ends, which sets the event."""
    ended, begun = threading.Event(), threading.Event()

    def listen() -> None:
        with httpx.stream("GET", url, headers=headers, timeout=30) as answer:
            for _ in answer.iter_text():
                begun.set()
        ended.set()

    thread = threading.Thread(target=listen)
    thread.start()
    assert begun.wait(30)
    yield ended
    thread.join()


def queue_a_job(tmp_path: Path) -> Job:
    async def create() -> Job:
        database = await Database.open(f"sqlite+aiosqlite:///{tmp_path / 'arr.db'}")
        job, _ = await JobRepository(database).create("count", tenant="local", parameters={})
        await database.close()
        return job

    return asyncio.run(create())


def test_a_key_that_is_revoked_ends_its_streams(serve: Callable[..., str], tmp_path: Path) -> None:
    job, keys = queue_a_job(tmp_path), KeyFile(tmp_path / "keys.json")
    key, token = keys.add("watcher", tenant="local", scopes=[Scope.RUBRICS])
    url = serve(create_app(Settings(data_dir=tmp_path, canary_seconds=0.0, api_keys=keys.path)))
    with listening(f"{url}/jobs/{job.id}/events", Authorization=f"Bearer {token}") as ended:
        assert not ended.is_set()
        keys.revoke(key.id)
        assert ended.wait(30)


async def test_tenants_see_their_own_jobs_and_admins_all(running: Any, jobs: JobRepository, tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    tokens = {
        name: keys.add(name, tenant=tenant, scopes=[scope])[1]
        for name, tenant, scope in (
            ("a", "lab-a", Scope.RUBRICS),
            ("b", "lab-b", Scope.RUBRICS),
            ("trainer", "lab-a", Scope.REWARD),
            ("admin", "office", Scope.ADMIN),
        )
    }
    job, _ = await jobs.create("count", tenant="lab-a", parameters={})
    async with running(api_keys=keys.path) as client:

        async def status(who: str, method: str, path: str) -> int:
            answer = await client.request(method, path, headers={"Authorization": f"Bearer {tokens[who]}"})
            return int(answer.status_code)

        for method, path in (("GET", f"/jobs/{job.id}"), ("POST", f"/jobs/{job.id}/cancel")):
            assert [await status(who, method, path) for who in ("b", "trainer", "a", "admin")] == [404, 403, 200, 200]
        assert [await status(who, "GET", f"/jobs/{job.id}/events") for who in ("b", "trainer", "a", "admin")] == [
            404, 403, 200, 200,
        ]  # fmt: skip
        lists = [
            (await client.get("/jobs", headers={"Authorization": f"Bearer {tokens[who]}"})).json()["items"]
            for who in ("a", "b", "admin")
        ]
        assert [[item["id"] for item in items] for items in lists] == [[job.id], [], [job.id]]
