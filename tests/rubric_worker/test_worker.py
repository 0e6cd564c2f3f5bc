"""A worker in this process: what becomes of jobs, however they end."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError

from services.rubric_worker.job_kinds import JobFailedError
from services.rubric_worker.running_job import RunningJob
from services.rubric_worker.worker import Worker, WorkerLimits
from services.storage.database import Database
from services.storage.job_claims import JobClaims, Progress
from services.storage.jobs import JobRepository
from services.storage.rubrics import RubricRepository, publish_version
from services.storage.tables import JobRow
from shared_schemas.jobs import Job, JobStage, JobState
from shared_schemas.rubrics import RubricContent, Task

LONG = timedelta(hours=1)
NOTHING_YET = Progress(stages=(), judge_calls=0, tokens=0)


async def count(job: RunningJob) -> Mapping[str, Any]:
    total = int(job.parameters["to"])
    job.stage("counting", total)
    for _ in range(total):
        await asyncio.sleep(0)
        job.advance()
        job.spend(judge_calls=2, tokens=10)
    return {"counted": total, "seed": job.call_seed("counting", total), "attempt": job.attempt}


async def for_ever(_job: RunningJob) -> Mapping[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_job_is_done_and_says_how(jobs: JobRepository, working, until) -> None:
    job, _ = await jobs.create("count", tenant="a", parameters={"to": 3}, seed=5)
    async with working(count=count):
        final = await until(job)
    assert (final.state, final.reason, final.error) == (JobState.SUCCEEDED, None, None)
    assert final.result is not None
    assert (final.result["counted"], final.result["attempt"]) == (3, 1)
    [stage] = final.stages
    assert stage == JobStage(name="counting", done=3, total=3, judge_calls=6, tokens=30, seconds=stage.seconds)
    assert (final.judge_calls, final.tokens) == (6, 30)
    assert final.started is not None
    assert final.finished is not None
    assert final.created <= final.started <= final.finished


async def test_a_job_that_comes_later_is_found(jobs: JobRepository, working, until) -> None:
    async with working(count=count):
        job, _ = await jobs.create("count", tenant="a", parameters={"to": 1})
        assert (await until(job)).state is JobState.SUCCEEDED


async def test_progress_is_seen_while_it_is_made(jobs: JobRepository, working, until) -> None:
    going_on = asyncio.Event()

    async def halfway(job: RunningJob) -> Mapping[str, Any]:
        job.stage("first half", 2)
        job.advance(2)
        job.stage("second half", 2)
        job.spend(judge_calls=7, tokens=99)
        await going_on.wait()
        return {}

    job, _ = await jobs.create("halfway", tenant="a", parameters={})
    async with working(halfway=halfway):
        seen = await until(job, lambda job: job.judge_calls == 7)
        assert [(stage.name, stage.done, stage.total) for stage in seen.stages] == [
            ("first half", 2, 2), ("second half", 0, 2),
        ]  # fmt: skip
        assert seen.state is JobState.RUNNING
        going_on.set()
        await until(job)


async def test_as_many_jobs_run_together_as_the_worker_may_do(jobs: JobRepository, working, until) -> None:
    both_there = asyncio.Barrier(2)

    async def meet(_job: RunningJob) -> Mapping[str, Any]:
        await both_there.wait()
        return {}

    pair = [(await jobs.create("meet", tenant="a", parameters={"n": n}))[0] for n in range(2)]
    async with working(meet=meet):
        assert {(await until(job)).state for job in pair} == {JobState.SUCCEEDED}


async def test_a_job_that_cannot_succeed_says_why_and_shows_what_it_found(jobs: JobRepository, working, until) -> None:
    async def refuse(_job: RunningJob) -> Mapping[str, Any]:
        raise JobFailedError("no-better-than-none", "It gains 1 point.", evidence={"accuracy": 0.51})

    job, _ = await jobs.create("refuse", tenant="a", parameters={})
    async with working(refuse=refuse):
        final = await until(job)
    assert (final.state, final.reason) == (JobState.FAILED, "no-better-than-none")
    assert final.error is not None
    assert (final.error.type, final.error.detail) == ("no-better-than-none", "It gains 1 point.")
    assert final.result == {"accuracy": 0.51}


async def test_a_bug_is_logged_and_never_shown(
    jobs: JobRepository, working, until, caplog: pytest.LogCaptureFixture
) -> None:
    async def stumble(_job: RunningJob) -> Mapping[str, Any]:
        raise RuntimeError("password=hunter2")

    async def write_no_json(_job: RunningJob) -> Mapping[str, Any]:
        return {"accuracy": float("nan")}

    async def cancel_itself(_job: RunningJob) -> Mapping[str, Any]:
        raise asyncio.CancelledError

    kinds = {"stumble": stumble, "write_no_json": write_no_json, "cancel_itself": cancel_itself}
    created = [(await jobs.create(kind, tenant="a", parameters={}))[0] for kind in kinds]
    async with working(**kinds):
        finals = [await until(job) for job in created]
    for final in finals:
        assert (final.state, final.reason, final.result) == (JobState.FAILED, "internal-error", None)
        assert "hunter2" not in final.model_dump_json()
    assert "RuntimeError: password=hunter2" in caplog.text


async def test_a_job_publishes_and_finishes_in_one_step(
    database: Database, jobs: JobRepository, working, until
) -> None:
    async def learn(job: RunningJob) -> Mapping[str, Any]:
        async with job.commit() as commit:
            version, _ = await publish_version(
                commit.session, "learned", RubricContent(task=Task.T2I), provenance={"job": job.id}
            )
            commit.finish({"version": version.version})
        return {"ignored": True}

    job, _ = await jobs.create("learn", tenant="a", parameters={})
    async with working(learn=learn):
        final = await until(job)
    assert (final.state, final.result) == (JobState.SUCCEEDED, {"version": 1})
    assert (await RubricRepository(database).get("learned")).provenance == {"job": job.id}


async def test_a_running_job_is_cancelled(jobs: JobRepository, working, until) -> None:
    ended = asyncio.Event()

    async def wait(job: RunningJob) -> Mapping[str, Any]:
        try:
            return await for_ever(job)
        finally:
            ended.set()

    job, _ = await jobs.create("wait", tenant="a", parameters={})
    async with working(wait=wait):
        await until(job, lambda job: job.state is JobState.RUNNING)
        await jobs.cancel(job.id, tenant="a")
        final = await until(job)
    assert ended.is_set()
    assert (final.state, final.reason, final.error) == (JobState.CANCELLED, "cancelled", None)


async def test_a_job_that_is_cancelled_before_it_publishes_publishes_nothing(
    database: Database, jobs: JobRepository, working, until
) -> None:
    async def learn(job: RunningJob) -> Mapping[str, Any]:
        await jobs.cancel(job.id, tenant="a")
        async with job.commit() as commit:
            await publish_version(commit.session, "learned", RubricContent(task=Task.T2I), provenance={})
            commit.finish({})
        return {}

    job, _ = await jobs.create("learn", tenant="a", parameters={})
    slow = WorkerLimits(idle=timedelta(milliseconds=5), heartbeat=LONG)  # so the commit itself finds out
    async with working(slow, learn=learn):
        assert (await until(job)).state is JobState.CANCELLED
    assert (await RubricRepository(database).summaries(limit=10)).items == ()


async def test_a_worker_that_stops_gives_its_jobs_back_and_another_goes_on(jobs: JobRepository, working, until) -> None:
    job, _ = await jobs.create("count", tenant="a", parameters={"to": 2})
    async with working(count=for_ever):
        await until(job, lambda job: job.state is JobState.RUNNING)
    waiting = await jobs.get(job.id, tenant="a")
    assert waiting is not None
    assert (waiting.state, waiting.attempt) == (JobState.QUEUED, 1)
    async with working(count=count):
        final = await until(job)
    assert final.result is not None
    assert (final.state, final.result["attempt"]) == (JobState.SUCCEEDED, 2)


async def test_the_lease_is_renewed_for_as_long_as_the_job_takes(
    database: Database, jobs: JobRepository, working, until
) -> None:
    async def lease_of(job: Job) -> datetime:
        async with database.reading() as session:
            lease = await session.scalar(select(JobRow.lease_until).where(JobRow.id == job.id))
        assert lease is not None
        return lease

    job, _ = await jobs.create("wait", tenant="a", parameters={})
    limits = WorkerLimits(
        lease=timedelta(milliseconds=300), idle=timedelta(milliseconds=5), heartbeat=timedelta(milliseconds=5)
    )
    async with working(limits, wait=for_ever):
        await until(job, lambda job: job.state is JobState.RUNNING)
        first = await lease_of(job)
        async with asyncio.timeout(30):
            while await lease_of(job) < first + 3 * limits.lease:  # noqa: ASYNC110 - a row has no events
                await asyncio.sleep(0.005)
    given_back = await jobs.get(job.id, tenant="a")
    assert given_back is not None
    assert given_back.revision == job.revision + 2  # begun and given back: a renewal is no change


async def test_a_worker_that_lost_its_job_stops_and_leaves_it_alone(
    database: Database, jobs: JobRepository, working, until, caplog: pytest.LogCaptureFixture
) -> None:
    stopped = asyncio.Event()

    async def wait(job: RunningJob) -> Mapping[str, Any]:
        try:
            return await for_ever(job)
        finally:
            stopped.set()

    job, _ = await jobs.create("wait", tenant="a", parameters={})
    one_at_a_time = WorkerLimits(idle=timedelta(milliseconds=5), heartbeat=timedelta(milliseconds=5))
    async with working(one_at_a_time, wait=wait):
        mine = await until(job, lambda job: job.state is JobState.RUNNING)
        await JobClaims(database).report(mine, NOTHING_YET, lease=timedelta(0))
        other = await JobClaims(database).claim({"wait"}, worker="other", lease=LONG, max_lost=5)
        assert other is not None
        await stopped.wait()
    after = await jobs.get(job.id, tenant="a")
    assert after is not None
    assert (after.state, after.attempt) == (JobState.RUNNING, 2)
    assert "job lost" in caplog.text


async def test_a_stale_result_is_dropped_also_when_the_work_hides_that_it_was_refused(
    database: Database, jobs: JobRepository, working, until
) -> None:
    taken = asyncio.Event()

    async def hide(_job: RunningJob) -> Mapping[str, Any]:
        await taken.wait()
        return {"by": "the stale one"}

    job, _ = await jobs.create("hide", tenant="a", parameters={})
    slow = WorkerLimits(idle=timedelta(milliseconds=5), heartbeat=LONG)
    async with working(slow, hide=hide):
        mine = await until(job, lambda job: job.state is JobState.RUNNING)
        claims = JobClaims(database)
        await claims.report(mine, NOTHING_YET, lease=timedelta(0))
        other = await claims.claim({"hide"}, worker="other", lease=LONG, max_lost=5)
        assert other is not None
        taken.set()
        later, _ = await jobs.create("hide", tenant="a", parameters={"n": 2})  # the worker is free again
        await until(later)
    after = await jobs.get(job.id, tenant="a")
    assert after is not None
    assert (after.state, after.result) == (JobState.RUNNING, None)


async def test_kinds_that_a_worker_does_not_know_are_left_to_others(jobs: JobRepository, working, until) -> None:
    strange, _ = await jobs.create("strange", tenant="a", parameters={})
    known, _ = await jobs.create("count", tenant="a", parameters={"to": 0})
    async with working(count=count):
        await until(known)
    left = await jobs.get(strange.id, tenant="a")
    assert left is not None
    assert left.state is JobState.QUEUED


async def test_a_database_that_does_not_answer_for_a_while_does_not_end_the_worker(
    database: Database, jobs: JobRepository, working, until, eventually, caplog: pytest.LogCaptureFixture
) -> None:
    job, _ = await jobs.create("count", tenant="a", parameters={"to": 1})
    async with database.writing() as session:
        await session.execute(text("ALTER TABLE jobs RENAME TO hidden"))
    async with working(count=count) as task:
        await eventually(lambda: "no job can be claimed" in caplog.text)
        async with database.writing() as session:
            await session.execute(text("ALTER TABLE hidden RENAME TO jobs"))
        assert (await until(job)).state is JobState.SUCCEEDED
        assert not task.done()


class CountedClaims(JobClaims):
    num_asked = 0

    async def claim(self, *args: Any, **options: Any) -> Job | None:
        self.num_asked += 1
        return await super().claim(*args, **options)


async def test_an_outage_is_logged_once_however_often_it_is_met(
    database: Database, eventually, caplog: pytest.LogCaptureFixture
) -> None:
    def num_said() -> int:
        return caplog.text.count("no job can be claimed")

    async def rename(before: str, after: str) -> None:
        async with database.writing() as session:
            await session.execute(text(f"ALTER TABLE {before} RENAME TO {after}"))

    claims = CountedClaims(database)
    worker = Worker(claims, {}, name="test", limits=WorkerLimits(idle=timedelta(milliseconds=5)))
    task = asyncio.create_task(worker.run())
    for outage in (1, 2):
        await rename("jobs", "hidden")
        await eventually(lambda outage=outage: num_said() == outage)
        num_asked = claims.num_asked
        await eventually(lambda before=num_asked: claims.num_asked > before + 3)
        await rename("hidden", "jobs")
        num_asked = claims.num_asked
        await eventually(lambda before=num_asked: claims.num_asked > before + 1)
        assert num_said() == outage
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def ask_a_database_that_is_away(job: RunningJob) -> Mapping[str, Any]:
    """In the first attempt; later ones succeed unless they shall `never`."""
    if job.attempt == 1 or job.parameters["never"]:
        await Database.open("sqlite+aiosqlite:////no/such/folder/arr.db")
    return {"attempt": job.attempt}


@pytest.mark.parametrize(
    ("never", "state", "reason"), [(False, JobState.SUCCEEDED, None), (True, JobState.FAILED, "worker-lost")]
)
async def test_a_job_that_loses_the_database_is_begun_again_but_not_for_ever(
    jobs: JobRepository, working, until, caplog: pytest.LogCaptureFixture, never: bool, state: JobState, reason: str
) -> None:
    job, _ = await jobs.create("ask", tenant="a", parameters={"never": never})
    quick = WorkerLimits(lease=timedelta(milliseconds=300), max_lost=3, idle=timedelta(milliseconds=5))
    async with working(quick, ask=ask_a_database_that_is_away):
        final = await until(job)
    assert (final.state, final.reason, final.attempt) == (state, reason, 3 if never else 2)
    [said, *_] = [record for record in caplog.records if "lost the database" in record.getMessage()]
    assert said.exc_info is not None
    assert said.exc_info[0] is OperationalError


async def test_a_reason_that_cannot_be_stored_is_a_bug_and_ends_no_worker(jobs: JobRepository, working, until) -> None:
    async def fail(_job: RunningJob) -> Mapping[str, Any]:
        raise JobFailedError("refused", "half of an emoji: \ud83d")

    job, _ = await jobs.create("fail", tenant="a", parameters={})
    async with working(fail=fail) as task:
        assert (await until(job)).reason == "internal-error"
        assert not task.done()


async def test_the_log_tells_the_life_of_a_job(
    jobs: JobRepository, working, until, eventually, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="services.rubric_worker")
    job, _ = await jobs.create("count", tenant="a", parameters={"to": 1})
    async with working(count=count):
        await until(job)
        await eventually(lambda: "job ends" in caplog.text)
    lines = [(record.getMessage(), vars(record)["job"], vars(record)["attempt"]) for record in caplog.records]
    assert lines == [("job begins", job.id, 1), ("job ends", job.id, 1)]
