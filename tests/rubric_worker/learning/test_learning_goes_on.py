"""A learning job that is killed and begun again ends with the same rubric set, and pays for nothing twice."""

import random
from datetime import timedelta
from itertools import accumulate
from typing import Any

import pytest

from services.judging.pixel_judge import PixelJudgeSettings, create_pixel_judge_app
from services.rubric_worker.desk import DeskLimits
from services.rubric_worker.running_job import RunningJob
from services.storage.job_claims import JobClaims
from shared_schemas.jobs import Job
from tests.rubric_worker.learning.killing import attempt_and_kill, attempt_until, num_remembered
from tests.rubric_worker.learning.workshop import Recorder, Workshop, rows_of_mistakes, succeeded

WEIGHED: dict[str, Any] = {"method": "autorubric_t2i", "seed_pairs": 2, "criteria_per_pair": 1, "folds": 3}


async def uninterrupted(workshop: Workshop, seed: int) -> tuple[str, Job]:
    """The digest that a job ends with that nobody disturbs, in a cache of its own."""
    kind = workshop.kind(await workshop.judge(), cache_scope="undisturbed")
    dataset = await workshop.store(rows_of_mistakes())
    job = await workshop.finish(await workshop.ask(dataset, name="undisturbed", seed=seed), kind)
    result = succeeded(job)
    assert result.rubric is not None
    return result.rubric.digest, job


async def interrupted(workshop: Workshop, kills: list[int], *, seed: int) -> tuple[str, list[bytes]]:
    """The digest that a job ends with that is killed after so many answers each time, and all it has asked."""
    app = Recorder(create_pixel_judge_app(PixelJudgeSettings()))
    judge = await workshop.judge(app)
    num_probes = len(app.bodies)
    kind = workshop.kind(judge)
    job = await workshop.ask(await workshop.store(rows_of_mistakes()), seed=seed)
    for number, after in enumerate(kills):
        await attempt_and_kill(workshop, kind, app, after=after, vanishes=number % 2 == 0)
    app.num_left = None
    final = await workshop.finish(job, kind)
    assert final.attempt == len(kills) + 1
    result = succeeded(final)
    assert result.rubric is not None
    return result.rubric.digest, app.bodies[num_probes:]


async def test_killed_at_every_stage_it_ends_with_the_same_set(workshop: Workshop) -> None:
    digest, job = await uninterrupted(workshop, seed=0)
    calls = [stage.judge_calls for stage in job.stages if stage.judge_calls]
    assert len(calls) >= 6
    same_digest, asked = await interrupted(workshop, calls[:-1], seed=0)
    assert same_digest == digest
    assert len(asked) == len(set(asked)) == sum(calls)


@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_at_random_it_ends_with_the_same_set(workshop: Workshop, seed: int) -> None:
    digest, job = await uninterrupted(workshop, seed=seed)
    points = sorted(random.Random(seed).sample(range(1, job.judge_calls), 3))
    kills = [point - before for before, point in zip([0, *points], points, strict=False)]
    assert list(accumulate(kills)) == points
    same_digest, asked = await interrupted(workshop, kills, seed=seed)
    assert same_digest == digest
    assert len(asked) == len(set(asked)) == job.judge_calls


@pytest.mark.parametrize(
    ("wanted", "stages"),
    [
        pytest.param({"seed": 1, "exemplars": 1}, {"revise", "explain exemplars"}, id="arr"),
        pytest.param(WEIGHED, {"round 1: diagnose", "round 1: score"}, id="autorubric_t2i"),
    ],
)
async def test_killed_while_one_call_in_ten_fails_it_ends_with_the_same_set(
    workshop: Workshop, wanted: dict[str, Any], stages: set[str]
) -> None:
    request = {**wanted, "publish_anyway": True}
    dataset = await workshop.store(rows_of_mistakes())
    sound = workshop.kind(await workshop.judge(), cache_scope="undisturbed")
    undisturbed = await workshop.finish(await workshop.ask(dataset, name="undisturbed", **request), sound)
    assert stages < {stage.name for stage in undisturbed.stages}
    judge = await workshop.judge(attempts=8, error_rate=0.06, drop_rate=0.04, seed=1)
    ill = workshop.kind(judge, limits=DeskLimits(pause=timedelta(milliseconds=5)))
    job = await workshop.ask(dataset, **request)
    num_there, num_needed = await num_remembered(workshop), undisturbed.judge_calls
    for share in (0.2, 0.45, 0.7):
        await attempt_until(workshop, ill, num_there + round(share * num_needed))
    final = await workshop.finish(job, ill)
    assert final.attempt == 4
    one, other = succeeded(undisturbed).rubric, succeeded(final).rubric
    assert one is not None
    assert other is not None
    assert one.digest == other.digest


async def test_a_worker_that_has_lost_the_job_publishes_nothing(workshop: Workshop) -> None:
    kind = workshop.kind(await workshop.judge())
    job = await workshop.ask(await workshop.store(rows_of_mistakes()))
    claims = JobClaims(workshop.database)
    lost = await claims.claim(["learn"], worker="slow", lease=timedelta(0), max_lost=10)
    assert lost is not None
    final = await workshop.finish(job, kind)
    newest = await workshop.rubrics.get("shapes")
    with pytest.raises(Exception, match=f"attempt 1 at job {job.id} is over"):
        await kind.run(RunningJob(lost, claims))
    assert (await workshop.jobs.get(job.id, tenant=None)) == final
    assert await workshop.rubrics.get("shapes") == newest
