"""The demo's first chapter at the service: labelled pairs go in, a measured rubric set comes out.

Owns what the demo asks the service to learn, and how it is shown. The one rule: the same as any user of the service
does it, over HTTP.
"""

from dataclasses import dataclass

from arr.demo.labelled_pairs import make_labelled_drawings
from arr.demo.stages import Progress
from reward_client import RewardClient
from shared_schemas.evaluations import RubricReport
from shared_schemas.jobs import Job, JobState
from shared_schemas.learning import ArrParameters, LearnRequest, LearnResult
from shared_schemas.rubrics import RubricVersion

NUM_PAIRS = 60
"""As few as a person labels in ten minutes."""

_TASK_DESCRIPTION = "Small drawings of one coloured shape on plain paper, made from a caption."


_SEED = 0
"""Of the drawings and of learning: the same for every training run, so that runs differ in the trainer alone."""


class LearningFailedError(Exception):
    """The service could not learn a rubric set; the message is the job's own sentence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnedRubric:
    """A published version and how it was come by."""

    version: RubricVersion
    result: LearnResult

    @property
    def measured(self) -> tuple[RubricReport, RubricReport] | None:
        """The set and the judge without rubrics, on drawings that were used for nothing else."""
        report = self.result.report
        return None if report is None else (report.rubrics[0], report.rubrics[-1])

    @property
    def summary(self) -> str:
        """In one line."""
        if self.measured is None:
            return "not measured"
        learned, none = (f"{100 * report.accuracy.value:.0f} %" for report in self.measured)
        return f"{learned} of held-out pairs as people label them; the judge without rubrics: {none}"


def learn_rubric(url: str, name: str, *, alias: str, progress: Progress) -> LearnedRubric:
    """Learn a rubric set from labelled drawings and point `alias` at it; learned again, it is the same version.

    Raises `LearningFailedError`, `RewardClientError` when the service does not answer, and what `progress` raises.
    """
    drawings = make_labelled_drawings(NUM_PAIRS, seed=_SEED)
    with RewardClient(url) as client:
        dataset = client.upload_dataset(drawings.rows, drawings.images)
        parameters = ArrParameters(task_description=_TASK_DESCRIPTION)
        request = LearnRequest(dataset=dataset.id, seed=_SEED, alias=alias, parameters=parameters)
        job = client.learn(name, request)
        job = client.wait_for_job(job.id, on_progress=lambda job: _show(job, progress))
        if job.state is not JobState.SUCCEEDED:
            why = job.error.detail if job.error else job.state
            raise LearningFailedError(f"the service could not learn a rubric set: {why}")
        result = LearnResult.model_validate(job.result)
        if result.rubric is None or result.rubric.version is None:
            raise LearningFailedError("the service learned a rubric set and published none")
        return LearnedRubric(version=client.get_rubric(name, result.rubric.version), result=result)


def _show(job: Job, progress: Progress) -> None:
    for stage in job.stages:
        progress(stage.name, stage.done, stage.total)
