"""What the example asks of the service: store labelled drawings, learn a weighted set of criteria from them.

Owns which pairs and which parameters. The one rule: the same as any user of the service does it, over HTTP.
"""

from dataclasses import dataclass

from arr.demo.labelled_pairs import make_labelled_drawings
from arr.demo.learning import LearningFailedError
from arr.demo.stages import Progress
from reward_client import RewardClient
from shared_schemas.autorubric import AutoRubricParameters
from shared_schemas.jobs import Job, JobState
from shared_schemas.learning import LearnRequest, LearnResult, Method
from shared_schemas.rubrics import RubricVersion

NAME = "tiny-drawings"
ALIAS = "production"

NUM_PAIRS = 120

PARAMETERS = AutoRubricParameters(
    task_description="Small drawings of one coloured shape on plain paper, made from a caption.",
    seed_pairs=24,
    pairs_per_round=8,
    rounds=2,
    max_criteria=6,
)
"""A small share of the usual: each kept criterion is a question about every image that training draws."""

_SEED = 0
"""Of the drawings and of learning: the same for every training run, so that runs differ in the trainer alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnedSet:
    """A published version and how it was come by."""

    version: RubricVersion
    job: Job
    result: LearnResult

    @property
    def total_weight(self) -> float:
        """The highest score there is: every criterion met for certain."""
        return sum(criterion.weight for criterion in self.version.content.criteria)

    @property
    def summary(self) -> str:
        """In one line."""
        version = self.version
        learned = f"learned {version.name}@{version.version}: {len(version.content.criteria)} weighted criteria"
        if self.result.report is None:
            return learned
        reports = self.result.report.rubrics[0], self.result.report.rubrics[-1]
        right, none = (f"{100 * report.accuracy.value:.0f} %" for report in reports)
        return f"{learned}, {right} of held-out pairs as labelled; the judge without rubrics: {none}"


def learn_set(url: str, *, progress: Progress) -> LearnedSet:
    """Learn a weighted set and point the alias at it; learned again, it is the same version.

    Raises `LearningFailedError`, `RewardClientError` when the service does not answer, and what `progress` raises.
    """
    drawings = make_labelled_drawings(NUM_PAIRS, seed=_SEED)
    with RewardClient(url) as client:
        dataset = client.upload_dataset(drawings.rows, drawings.images)
        request = LearnRequest(
            dataset=dataset.id, method=Method.AUTORUBRIC_T2I, parameters=PARAMETERS, seed=_SEED, alias=ALIAS
        )
        job = client.learn(NAME, request)
        job = client.wait_for_job(job.id, on_progress=lambda job: _show(job, progress))
        if job.state is not JobState.SUCCEEDED:
            why = job.error.detail if job.error else job.state
            raise LearningFailedError(f"the service could not learn a rubric set: {why}")
        result = LearnResult.model_validate(job.result)
        if result.rubric is None or result.rubric.version is None:
            raise LearningFailedError("the service learned a rubric set and published none")
        return LearnedSet(version=client.get_rubric(NAME, result.rubric.version), job=job, result=result)


def _show(job: Job, progress: Progress) -> None:
    for stage in job.stages:
        progress(stage.name, stage.done, stage.total)
