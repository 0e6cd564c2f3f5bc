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
    progress = ProgressCounter(JOB)
    progress.stage("propose", 3)
    progress.advance(3)
    progress.stage("verify", 5)
    progress.advance(1)
    progress.advance(2)
    assert progress.now().stages == (
        JobStage(name="propose", done=3, total=3),
        JobStage(name="verify", done=3, total=5),
    )


def test_a_stage_that_begins_anew_is_the_last_one_again() -> None:
    progress = ProgressCounter(JOB)
    for stage in ("verify", "revise", "verify"):
        progress.stage(stage, 4)
        progress.advance(1)
    assert [(stage.name, stage.done) for stage in progress.now().stages] == [("revise", 1), ("verify", 1)]


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
