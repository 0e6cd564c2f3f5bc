"""Leases and fencing: who may write about a job, and when it is somebody else's turn."""

import asyncio
import itertools
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.storage.database import Database
from services.storage.errors import StaleWorkerError
from services.storage.job_claims import JobCancelledError, JobClaims, Progress
from services.storage.jobs import JobRepository, Outcome
from services.storage.rubrics import RubricRepository, publish_version
from shared_schemas.jobs import Job, JobReason, JobStage, JobState
from shared_schemas.rubrics import RubricContent, Task

LONG = timedelta(hours=1)
LAPSED = timedelta(0)
"""A lease that is over as soon as it is given."""

NOTHING = Progress(stages=(), judge_calls=0, tokens=0)
SUCCESS = Outcome(state=JobState.SUCCEEDED, result={"counted": 3})


@pytest.fixture
def jobs(database: Database) -> JobRepository:
    return JobRepository(database)


@pytest.fixture
def claims(database: Database) -> JobClaims:
    return JobClaims(database)


async def claimed(claims: JobClaims, *, lease: timedelta = LONG, kind: str = "count", max_lost: int = 5) -> Job:
    job = await claims.claim({kind}, worker="w", lease=lease, max_lost=max_lost)
    assert job is not None
    return job


async def state_of(jobs: JobRepository, job: Job) -> JobState:
    found = await jobs.get(job.id, tenant=None)
    assert found is not None
    return found.state


async def test_a_claimed_job_is_running_and_nobody_elses(jobs: JobRepository, claims: JobClaims) -> None:
    await jobs.create("count", tenant="a", parameters={"to": 3})
    job = await claimed(claims)
    assert (job.state, job.attempt, job.parameters) == (JobState.RUNNING, 1, {"to": 3})
    assert job.started is not None
    assert await claims.claim({"count"}, worker="other", lease=LONG, max_lost=5) is None


async def test_a_worker_claims_what_it_can_do_and_the_oldest_first(jobs: JobRepository, claims: JobClaims) -> None:
    first, _ = await jobs.create("sleep", tenant="a", parameters={})
    second, _ = await jobs.create("count", tenant="a", parameters={"n": 1})
    third, _ = await jobs.create("count", tenant="a", parameters={"n": 2})
    assert await claims.claim(set(), worker="w", lease=LONG, max_lost=5) is None
    assert [(await claimed(claims)).id for _ in range(2)] == [second.id, third.id]
    assert (await claimed(claims, kind="sleep")).id == first.id


async def test_twenty_workers_in_a_hurry_get_one_job_each(database_url: str, database: Database) -> None:
    jobs = JobRepository(database)
    wanted = [(await jobs.create("count", tenant="a", parameters={"n": n}))[0].id for n in range(10)]
    others = [await Database.open(database_url) for _ in range(4)]  # connections of their own, as processes have
    hurrying = [JobClaims(others[n % 4]).claim({"count"}, worker=f"{n}", lease=LONG, max_lost=5) for n in range(20)]
    got = [job for job in await asyncio.gather(*hurrying) if job is not None]
    assert sorted(job.id for job in got) == wanted
    assert {job.attempt for job in got} == {1}
    for other in others:
        await other.close()


async def test_a_lapsed_lease_is_claimed_by_another_and_the_first_may_write_no_more(
    jobs: JobRepository, claims: JobClaims
) -> None:
    await jobs.create("count", tenant="a", parameters={})
    stale = await claimed(claims, lease=LAPSED)
    owner = await claimed(claims)
    assert (owner.id, owner.attempt, owner.started) == (stale.id, 2, stale.started)
    for write in (
        claims.report(stale, NOTHING, lease=LONG),
        claims.is_cancel_requested(stale),
        claims.finish(stale, SUCCESS, NOTHING),
        claims.release(stale, NOTHING),
    ):
        with pytest.raises(StaleWorkerError, match="attempt 1"):
            await write
    assert (await claims.finish(owner, SUCCESS, NOTHING)).result == {"counted": 3}


async def test_a_lapsed_lease_that_nobody_claimed_can_still_be_renewed(jobs: JobRepository, claims: JobClaims) -> None:
    await jobs.create("count", tenant="a", parameters={})
    job = await claimed(claims, lease=LAPSED)
    await claims.report(job, NOTHING, lease=LONG)
    assert await claims.claim({"count"}, worker="other", lease=LONG, max_lost=5) is None


async def test_a_stale_worker_cannot_publish(database: Database, jobs: JobRepository, claims: JobClaims) -> None:
    await jobs.create("learn", tenant="a", parameters={})
    stale = await claimed(claims, lease=LAPSED, kind="learn")
    owner = await claimed(claims, kind="learn")
    content = RubricContent(task=Task.T2I)
    with pytest.raises(StaleWorkerError):
        async with claims.committing(stale, NOTHING) as commit:
            await publish_version(commit.session, "learned", content, provenance={"attempt": 1})
    async with claims.committing(owner, NOTHING) as commit:
        version, _ = await publish_version(commit.session, "learned", content, provenance={"attempt": 2})
        commit.finish({"version": version.version})
    published = (await RubricRepository(database).versions("learned", limit=10)).items
    assert [version.provenance for version in published] == [{"attempt": 2}]
    final = await jobs.get(owner.id, tenant="a")
    assert final is not None
    assert (final.state, final.result) == (JobState.SUCCEEDED, {"version": 1})


async def test_publishing_and_finishing_happen_both_or_neither(
    database: Database, jobs: JobRepository, claims: JobClaims
) -> None:
    await jobs.create("learn", tenant="a", parameters={})
    job = await claimed(claims, kind="learn")

    async def fail_after_publishing() -> None:
        async with claims.committing(job, NOTHING) as commit:
            await publish_version(commit.session, "learned", RubricContent(task=Task.T2I), provenance={})
            commit.finish({})
            raise LookupError

    with pytest.raises(LookupError):
        await fail_after_publishing()
    assert (await RubricRepository(database).summaries(limit=10)).items == ()
    assert await state_of(jobs, job) is JobState.RUNNING


async def test_a_commit_that_finishes_nothing_leaves_the_job_running(jobs: JobRepository, claims: JobClaims) -> None:
    await jobs.create("count", tenant="a", parameters={})
    job = await claimed(claims)
    async with claims.committing(job, NOTHING):
        pass
    assert await state_of(jobs, job) is JobState.RUNNING


async def test_a_job_that_was_told_to_stop_publishes_nothing_and_ends_cancelled(
    jobs: JobRepository, claims: JobClaims
) -> None:
    for ending in ("finish", "release"):
        await jobs.create("count", tenant="a", parameters={"ending": ending})
        job = await claimed(claims)
        await jobs.cancel(job.id, tenant="a")
        assert await claims.is_cancel_requested(job)
        assert await claims.report(job, NOTHING, lease=LONG)
        with pytest.raises(JobCancelledError):
            async with claims.committing(job, NOTHING):
                pass
        if ending == "finish":
            final = await claims.finish(job, SUCCESS, NOTHING)
        else:
            final = await claims.release(job, NOTHING)
        assert (final.state, final.reason, final.result) == (JobState.CANCELLED, "cancelled", None)


async def test_a_worker_that_died_before_it_heard_of_the_cancel_needs_no_successor(
    jobs: JobRepository, claims: JobClaims
) -> None:
    await jobs.create("count", tenant="a", parameters={})
    job = await claimed(claims)
    await jobs.cancel(job.id, tenant="a")
    await claims.report(job, NOTHING, lease=LAPSED)
    assert await claims.claim({"count"}, worker="w", lease=LONG, max_lost=5) is None
    assert await state_of(jobs, job) is JobState.CANCELLED


async def test_a_job_given_back_is_begun_again_at_once_and_counts_as_no_loss(
    jobs: JobRepository, claims: JobClaims
) -> None:
    await jobs.create("count", tenant="a", parameters={})
    for attempt in range(1, 9):
        job = await claimed(claims, max_lost=1)
        assert job.attempt == attempt
        assert (await claims.release(job, NOTHING)).state is JobState.QUEUED
    with pytest.raises(StaleWorkerError):
        await claims.report(job, NOTHING, lease=LONG)


async def test_a_job_that_loses_all_its_workers_has_failed(jobs: JobRepository, claims: JobClaims) -> None:
    deadly, _ = await jobs.create("count", tenant="a", parameters={"n": 1})
    behind, _ = await jobs.create("count", tenant="a", parameters={"n": 2})
    for _ in range(3):
        await claimed(claims, lease=LAPSED, max_lost=3)
    assert (await claimed(claims, max_lost=3)).id == behind.id
    final = await jobs.get(deadly.id, tenant="a")
    assert final is not None
    assert (final.state, final.reason, final.attempt) == (JobState.FAILED, JobReason.WORKER_LOST, 3)
    assert final.error is not None
    assert final.error.type == "worker-lost"


async def test_progress_is_kept_and_counts_as_a_change_only_when_it_is_one(
    jobs: JobRepository, claims: JobClaims
) -> None:
    await jobs.create("count", tenant="a", parameters={})
    job = await claimed(claims, lease=LAPSED)
    half = Progress(stages=(JobStage(name="counting", done=1, total=2),), judge_calls=4, tokens=900)
    await claims.report(job, half, lease=LAPSED)
    first = await jobs.get(job.id, tenant="a")
    await claims.report(job, half, lease=LAPSED)
    assert first is not None
    assert await jobs.get(job.id, tenant="a") == first
    assert (first.stages, first.judge_calls, first.tokens) == (half.stages, 4, 900)
    assert first.revision == job.revision + 1
    again = await claimed(claims)
    assert (again.stages, again.judge_calls, again.tokens) == ((), 4, 900)


OPERATIONS = ("claim", "claim and lapse", "report", "lapse", "finish", "fail", "commit", "release", "cancel")
numbers = itertools.count()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 3)), max_size=12))
async def test_whatever_happens_only_the_last_claim_counts_and_what_is_final_stays(
    jobs: JobRepository, claims: JobClaims, operations: list[tuple[str, int]]
) -> None:
    kind = f"kind-{next(numbers)}"
    seen, _ = await jobs.create(kind, tenant="a", parameters={})
    held: list[Job] = []
    for operation, which in operations:
        worker = held[-1 - which % len(held)] if held else None
        refused = await perform(operation, worker, kind, jobs, claims, held)
        now = await jobs.get(seen.id, tenant="a")
        assert now is not None
        assert now.attempt == len(held)
        if worker is not None and operation in {"report", "lapse", "finish", "fail", "commit", "release"}:
            may_write = seen.state is JobState.RUNNING and worker.attempt == seen.attempt
            assert refused == (not may_write or (operation == "commit" and seen.cancel_requested))
        if refused or seen.state.is_final:
            assert now == seen
        if now != seen:
            assert now.revision > seen.revision
        if seen.cancel_requested:
            assert now.state in {seen.state, JobState.CANCELLED}
        seen = now


async def perform(
    operation: str, worker: Job | None, kind: str, jobs: JobRepository, claims: JobClaims, held: list[Job]
) -> bool:
    """Do one thing; true = it was refused."""
    if operation.startswith("claim"):
        lease = LONG if operation == "claim" else LAPSED
        job = await claims.claim({kind}, worker="w", lease=lease, max_lost=99)
        held += [] if job is None else [job]
    elif operation == "cancel":
        await jobs.cancel(next(iter((await jobs.page(tenant="a", kind=kind, limit=1)).items)).id, tenant="a")
    elif worker is not None:
        try:
            await write(operation, worker, claims)
        except (StaleWorkerError, JobCancelledError):
            return True
    return False


async def write(operation: str, worker: Job, claims: JobClaims) -> None:
    match operation:
        case "report":
            await claims.report(worker, NOTHING, lease=LONG)
        case "lapse":
            await claims.report(worker, NOTHING, lease=LAPSED)
        case "finish":
            await claims.finish(worker, SUCCESS, NOTHING)
        case "fail":
            await claims.finish(worker, Outcome(state=JobState.FAILED, reason="no", detail="No."), NOTHING)
        case "commit":
            async with claims.committing(worker, NOTHING) as commit:
                commit.finish({"committed": True})
        case "release":
            await claims.release(worker, NOTHING)
