"""Jobs as they are created, listed and cancelled by those who asked for them."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from services.storage.clock import database_now
from services.storage.database import Database
from services.storage.job_claims import JobClaims
from services.storage.jobs import JobRepository
from shared_schemas.jobs import JobState

LONG = timedelta(hours=1)
LAPSED = timedelta(0)


@pytest.fixture
def jobs(database: Database) -> JobRepository:
    return JobRepository(database)


@pytest.fixture
def claims(database: Database) -> JobClaims:
    return JobClaims(database)


async def test_the_databases_clock_tells_the_time_in_utc(database: Database) -> None:
    a_millisecond = timedelta(milliseconds=1)  # as fine as SQLite counts
    before = datetime.now(UTC)
    async with database.reading() as session:
        now = await database_now(session)
    assert before - a_millisecond <= now <= datetime.now(UTC) + a_millisecond
    assert now.tzinfo is UTC


async def test_a_new_job_waits_and_says_what_was_asked_for(jobs: JobRepository) -> None:
    job, is_new = await jobs.create("count", tenant="lab-a", parameters={"to": 3, "why": ["ü", None]}, seed=7)
    assert is_new
    assert (job.kind, job.tenant, job.parameters, job.seed) == ("count", "lab-a", {"to": 3, "why": ["ü", None]}, 7)
    assert (job.state, job.reason, job.attempt, job.cancel_requested) == (JobState.QUEUED, None, 0, False)
    assert (job.stages, job.judge_calls, job.tokens, job.result, job.error) == ((), 0, 0, None, None)
    assert (job.started, job.finished) == (None, None)
    assert await jobs.get(job.id, tenant="lab-a") == job


async def test_asking_twice_starts_one_job(jobs: JobRepository) -> None:
    job, _ = await jobs.create("count", tenant="lab-a", parameters={"to": 3})
    assert await jobs.create("count", tenant="lab-a", parameters={"to": 3}) == (job, False)
    others = [
        await jobs.create("count", tenant="lab-b", parameters={"to": 3}),
        await jobs.create("count", tenant="lab-a", parameters={"to": 4}),
        await jobs.create("count", tenant="lab-a", parameters={"to": 3}, seed=1),
        await jobs.create("sleep", tenant="lab-a", parameters={"to": 3}),
    ]
    assert all(is_new for _, is_new in others)
    assert len({job.id, *(other.id for other, _ in others)}) == 5


async def test_asking_twenty_times_at_once_starts_one_job(jobs: JobRepository) -> None:
    made = await asyncio.gather(*(jobs.create("count", tenant="lab-a", parameters={"to": 3}) for _ in range(20)))
    assert len({job.id for job, _ in made}) == 1
    assert [is_new for _, is_new in made].count(True) == 1


async def test_a_job_that_is_over_or_stopping_is_no_answer_to_a_new_one(jobs: JobRepository, claims: JobClaims) -> None:
    job, _ = await jobs.create("count", tenant="a", parameters={})
    await claims.claim({"count"}, worker="w", lease=LONG, max_lost=5)
    await jobs.cancel(job.id, tenant="a")  # its worker has yet to hear of it
    again, is_new = await jobs.create("count", tenant="a", parameters={})
    assert is_new
    await jobs.cancel(again.id, tenant="a")  # final at once
    assert (await jobs.create("count", tenant="a", parameters={}))[1]


async def test_what_is_no_json_is_refused(jobs: JobRepository) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        await jobs.create("count", tenant="a", parameters={"to": float("nan")})
    assert (await jobs.page(tenant=None, limit=10)).items == ()


async def test_another_tenants_job_is_as_good_as_none(jobs: JobRepository) -> None:
    job, _ = await jobs.create("count", tenant="lab-a", parameters={})
    assert await jobs.get(job.id, tenant="lab-b") is None
    assert await jobs.cancel(job.id, tenant="lab-b") is None
    assert await jobs.get(job.id, tenant=None) == job
    assert await jobs.get(job.id + 1, tenant=None) is None
    assert await jobs.cancel(job.id + 1, tenant=None) is None


async def test_jobs_are_listed_newest_first_in_pages(jobs: JobRepository) -> None:
    ids = [(await jobs.create("count", tenant="a", parameters={"to": n}))[0].id for n in range(5)]
    first = await jobs.page(tenant="a", limit=2)
    second = await jobs.page(tenant="a", limit=2, before=first.next)
    last = await jobs.page(tenant="a", limit=2, before=second.next)
    assert [[job.id for job in page.items] for page in (first, second, last)] == [ids[:2:-1], ids[2:0:-1], ids[:1]]
    assert last.next is None


async def test_tenant_kind_and_state_narrow_the_list(jobs: JobRepository) -> None:
    counted, _ = await jobs.create("count", tenant="a", parameters={})
    slept, _ = await jobs.create("sleep", tenant="a", parameters={})
    theirs, _ = await jobs.create("count", tenant="b", parameters={})
    await jobs.cancel(slept.id, tenant="a")

    async def ids(**filters: object) -> list[int]:
        page = await jobs.page(limit=10, **filters)  # type: ignore[arg-type]
        return [job.id for job in page.items]

    assert await ids(tenant=None) == [theirs.id, slept.id, counted.id]
    assert await ids(tenant="a", kind="count") == [counted.id]
    assert await ids(tenant=None, state=JobState.CANCELLED) == [slept.id]
    assert await ids(tenant=None, state=JobState.RUNNING) == []


async def test_a_job_that_nobody_works_on_is_cancelled_at_once(jobs: JobRepository, claims: JobClaims) -> None:
    waiting, _ = await jobs.create("count", tenant="a", parameters={"n": 1})
    cancelled = await jobs.cancel(waiting.id, tenant="a")
    assert cancelled is not None
    assert (cancelled.state, cancelled.reason, cancelled.error) == (JobState.CANCELLED, "cancelled", None)
    assert cancelled.finished is not None
    lapsed, _ = await jobs.create("count", tenant="a", parameters={"n": 2})
    await claims.claim({"count"}, worker="w", lease=LAPSED, max_lost=5)
    cancelled = await jobs.cancel(lapsed.id, tenant="a")
    assert cancelled is not None
    assert cancelled.state is JobState.CANCELLED
    assert await claims.claim({"count"}, worker="w", lease=LONG, max_lost=5) is None


async def test_a_job_that_somebody_works_on_is_told_to_stop(jobs: JobRepository, claims: JobClaims) -> None:
    await jobs.create("count", tenant="a", parameters={})
    job = await claims.claim({"count"}, worker="w", lease=LONG, max_lost=5)
    assert job is not None
    told = await jobs.cancel(job.id, tenant="a")
    assert told is not None
    assert (told.state, told.cancel_requested) == (JobState.RUNNING, True)
    assert told.revision > job.revision
    assert await jobs.cancel(job.id, tenant="a") == told


async def test_a_final_job_cannot_be_cancelled_any_more(jobs: JobRepository) -> None:
    job, _ = await jobs.create("count", tenant="a", parameters={})
    once = await jobs.cancel(job.id, tenant="a")
    assert await jobs.cancel(job.id, tenant="a") == once
