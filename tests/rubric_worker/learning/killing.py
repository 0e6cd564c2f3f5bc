"""Attempts at a learning job that are killed half-way."""

import asyncio
from datetime import timedelta

from sqlalchemy import func, select

from services.rubric_worker.learn_job import LearnJob
from services.rubric_worker.running_job import RunningJob
from services.storage.job_claims import JobClaims
from services.storage.tables import ChatAnswerRow, VerdictRow
from tests.rubric_worker.learning.workshop import Recorder, Workshop


async def num_remembered(workshop: Workshop) -> int:
    """Answers of the judge and the writer that a new attempt finds."""
    async with workshop.database.reading() as session:
        verdicts = await session.scalar(select(func.count()).select_from(VerdictRow))
        texts = await session.scalar(select(func.count()).select_from(ChatAnswerRow))
    return (verdicts or 0) + (texts or 0)


async def attempt_until(workshop: Workshop, kind: LearnJob, num: int) -> None:
    """Claim the job, do it until so many answers are remembered, and vanish."""
    claims = JobClaims(workshop.database)
    claimed = await claims.claim(["learn"], worker="doomed", lease=timedelta(0), max_lost=1000)
    assert claimed is not None
    work = asyncio.create_task(kind.run(RunningJob(claimed, claims)))
    async with asyncio.timeout(60):
        while await num_remembered(workshop) < num:
            assert not work.done(), work.exception()
            await asyncio.sleep(0.002)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


async def attempt_and_kill(workshop: Workshop, kind: LearnJob, app: Recorder, *, after: int, vanishes: bool) -> None:
    """Claim the job and do it until so many more requests were answered; then vanish, or give the job back."""
    app.num_left, app.has_stopped = after, asyncio.Event()
    expected = await num_remembered(workshop) + after
    claims = JobClaims(workshop.database)
    claimed = await claims.claim(["learn"], worker="doomed", lease=timedelta(0), max_lost=1000)
    assert claimed is not None
    running = RunningJob(claimed, claims)
    work = asyncio.create_task(kind.run(running))
    async with asyncio.timeout(30):
        await app.has_stopped.wait()
        while await num_remembered(workshop) < expected:  # noqa: ASYNC110 - a database has no events
            await asyncio.sleep(0.005)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    if not vanishes:
        await claims.release(claimed, running.progress.now())
