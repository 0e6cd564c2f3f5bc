"""Learning and evaluating as the command line sees it, without a judge; the job's seed says how it goes."""

import asyncio
from collections.abc import Mapping
from typing import Any

from services.reward_api.state import Services
from services.rubric_worker.job_kinds import JobFailedError, JobKinds
from services.rubric_worker.running_job import RunningJob
from services.storage.rubrics import publish_version
from shared_schemas.rubrics import Criterion, RubricContent, RubricIdentity, Task
from tests.arr.made_up_results import evaluation, learn_result, rubric_report

GOES_WELL, NO_BETTER, NEVER_ENDS, FAILS_EARLY = range(4)
"""Seeds."""


def kinds(_services: Services) -> JobKinds:
    return {"learn": MadeUpLearning(), "evaluate": MadeUpEvaluation()}


async def _begin(job: RunningJob) -> None:
    job.stage("proposing", 3)
    job.spend(judge_calls=3, tokens=1200)
    job.advance(3)
    if job.seed == NEVER_ENDS:
        job.stage("verifying", 100)
        job.advance(40)
        await asyncio.Event().wait()
    if job.seed == FAILS_EARLY:
        raise JobFailedError("judge-unavailable", "The judge did not answer for ten minutes.")


class MadeUpLearning:
    async def run(self, job: RunningJob) -> Mapping[str, Any]:
        await _begin(job)
        if job.seed == NO_BETTER and not job.parameters["publish_anyway"]:
            evidence = learn_result(rubric=None, better_than_none=False, p_value=0.4).model_dump(mode="json")
            raise JobFailedError("no-better-than-none", "Right in 60 % and 61 % of 40 pairs.", evidence=evidence)
        theme = job.parameters["parameters"]["task_description"] or "Composition"
        content = RubricContent(
            task=Task.T2I, criteria=(Criterion(id="c1", theme=theme, tips=("It holds together.",)),)
        )
        async with job.commit() as commit:
            version, is_new = await publish_version(commit.session, job.parameters["name"], content, provenance={})
            identity = RubricIdentity(name=version.name, version=version.version, digest=version.digest)
            commit.finish(learn_result(rubric=identity, is_new=is_new).model_dump(mode="json"))
        return {}


class MadeUpEvaluation:
    async def run(self, job: RunningJob) -> Mapping[str, Any]:
        await _begin(job)
        names = [reference.partition("@")[0] for reference in job.parameters["rubrics"]]
        report = evaluation(*(rubric_report(name, 1, themes=2) for name in names), dataset=job.parameters["dataset"])
        return report.model_dump(mode="json")
