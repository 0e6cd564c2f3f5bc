from datetime import UTC, datetime

import pytest

from services.rubric_worker.progress import ProgressCounter
from services.storage.job_claims import Progress
from shared_schemas.jobs import Job, JobStage, JobState

JOB = Job(
    id=1,
    kind="count",
    tenant="a",
    state=JobState.RUNNING,
    reason=None,
    cancel_requested=False,
    stages=(JobStage(name="of the first attempt", done=1, total=2),),
    judge_calls=10,
    tokens=1000,
    attempt=2,
    created=datetime(2026, 1, 1, tzinfo=UTC),
    started=None,
    finished=None,
    seed=0,
    parameters={},
    result=None,
    error=None,
    revision=3,
)


def test_items_are_counted_in_the_stage_that_is_under_way() -> None:
    progress = ProgressCounter(JOB, clock=lambda: 0.0)
    progress.stage("propose", 3)
    progress.advance(3)
    progress.stage("verify", 5)
    progress.advance(1)
    progress.advance(2)
    assert progress.now().stages == (
        JobStage(name="propose", done=3, total=3),
        JobStage(name="verify", done=3, total=5),
    )


def test_a_stage_that_is_begun_again_goes_on_and_is_the_last_one() -> None:
    seconds = iter([0.0, 0.0, 2.0, 10.0, 11.0, 20.0, 23.0])
    progress = ProgressCounter(JOB, clock=lambda: next(seconds))
    for stage in ("verify", "revise", "verify"):
        progress.stage(stage, 4)
        progress.spend(judge_calls=1, tokens=10)
        progress.advance(3)
    assert progress.now().stages == (
        JobStage(name="revise", done=3, total=4, judge_calls=1, tokens=10, seconds=1.0),
        JobStage(name="verify", done=6, total=8, judge_calls=2, tokens=20, seconds=5.0),
    )


def test_spending_goes_on_from_the_attempts_before() -> None:
    progress = ProgressCounter(JOB)
    progress.spend(judge_calls=2, tokens=50)
    assert progress.now() == Progress(stages=(), judge_calls=12, tokens=1050)


def test_nothing_advances_before_a_stage_begins() -> None:
    with pytest.raises(LookupError):
        ProgressCounter(JOB).advance(1)


def test_it_is_news_until_it_is_written() -> None:
    progress = ProgressCounter(JOB)
    news = [progress.is_news]
    progress.stage("propose", 1)
    seen = progress.now()
    progress.advance(1)
    progress.written(seen)
    news.append(progress.is_news)
    progress.written(progress.now())
    news.append(progress.is_news)
    assert news == [False, True, False]


def test_each_stage_knows_what_it_cost_and_how_long_it_took() -> None:
    seconds = iter([0.0, 10.0, 12.5, 20.0, 26.0])
    progress = ProgressCounter(JOB, clock=lambda: next(seconds))
    progress.stage("propose", 1)
    progress.spend(judge_calls=2, tokens=50)
    progress.advance(1)
    progress.stage("verify", 2)
    progress.spend(judge_calls=4, tokens=7)
    progress.advance(2)
    assert progress.now().stages == (
        JobStage(name="propose", done=1, total=1, judge_calls=2, tokens=50, seconds=2.5),
        JobStage(name="verify", done=2, total=2, judge_calls=4, tokens=7, seconds=6.0),
    )
