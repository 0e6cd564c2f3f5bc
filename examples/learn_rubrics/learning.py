"""What the example asks of the service, as any client would: store pairs, learn a set, measure some.

Owns the requests and how the pairs are shared out. The one rule: what is measured is measured on pairs that the set was
not learned from.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from arr.learn_parameters import read_parameters
from examples.learn_rubrics.labelled_folder import ANNOTATIONS
from reward_client import RewardClient
from shared_schemas.datasets import Dataset
from shared_schemas.evaluations import EvaluationReport, EvaluationRequest, SplitName
from shared_schemas.jobs import Job, JobState
from shared_schemas.learning import LearnRequest
from shared_schemas.rubrics import RubricIdentity

PARAMETERS = read_parameters(Path(__file__).with_name("parameters.toml"), ())
"""What is learned with, beside the description of the task."""

Watch = Callable[[], AbstractContextManager[Callable[[Job], None]]]
"""Opens what shows people one job under way."""


class JobFailedError(Exception):
    """A job that should have succeeded did not; the message is its own reason."""


class Workshop:
    """One service, and the seed of everything that is asked of it."""

    def __init__(self, client: RewardClient, *, seed: int, watch: Watch) -> None:
        self.client = client
        self._seed = seed
        self._watch = watch

    def upload(self, folder: Path, annotations: str = ANNOTATIONS) -> Dataset:
        """Store the pairs of a folder; the same pairs again are the same dataset."""
        rows = [json.loads(line) for line in (folder / annotations).read_text().splitlines()]
        names = {name for row in rows for name in (*row["images"], *([row["source"]] if "source" in row else []))}
        return self.client.upload_dataset(rows, {name: folder / name for name in sorted(names)})

    def learn(self, name: str, dataset: Dataset, *, task_description: str) -> Job:
        """Learn a set and wait for the end of the job, whether it succeeded or not."""
        parameters = PARAMETERS.model_copy(update={"task_description": task_description})
        request = LearnRequest(dataset=dataset.id, parameters=parameters, seed=self._seed)
        return self._at_its_end(self.client.learn(name, request))

    def measure(self, rubrics: Sequence[RubricIdentity], dataset: Dataset) -> EvaluationReport:
        """Some versions on the held-out pairs, the judge without rubrics last. Raises `JobFailedError`."""
        request = EvaluationRequest(
            dataset=dataset.id,
            split=SplitName.TEST,
            fractions=PARAMETERS.fractions,
            rubrics=tuple(rubric.reference for rubric in rubrics),
            seed=self._seed,
            injection=False,
            per_criterion=False,
        )
        return EvaluationReport.model_validate(result_of(self._at_its_end(self.client.evaluate(request))))

    def _at_its_end(self, job: Job) -> Job:
        with self._watch() as show:
            return self.client.wait_for_job(job.id, on_progress=show)


def result_of(job: Job) -> object:
    """What a job found. Raises `JobFailedError` when it did not succeed."""
    if job.state is not JobState.SUCCEEDED:
        why = job.error.detail if job.error else job.state
        raise JobFailedError(f"job {job.id} ended as {job.state} ({job.reason}): {why}")
    return job.result
