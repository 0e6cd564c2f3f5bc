"""Is a learned set any good? It is measured beside the judge without rubrics, on pairs that nothing was learned from.

Owns which part answers which question: the test part measures, the validation part calibrates, and both together decide
whether the set is better than none.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from services.rubric_worker.desk import Desk
from services.rubric_worker.evaluation.evaluate import MIN_PREFERENCES, evaluate_pairs
from services.rubric_worker.evaluation.options import EvaluationOptions
from services.rubric_worker.evaluation.report import evaluation_report
from services.rubric_worker.labelled_pairs import pairs_of
from services.rubric_worker.learning_data import LearningData
from services.rubric_worker.pictures import Pictures
from services.rubric_worker.running_job import RunningJob
from shared_schemas.datasets import DatasetRow
from shared_schemas.evaluations import EvaluationReport, RubricReport, SplitName
from shared_schemas.reward import JudgeIdentity
from shared_schemas.rubrics import Calibration, RubricContent, RubricIdentity


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What came of it."""

    judge: JudgeIdentity
    """Who judged."""
    report: EvaluationReport | None
    """The set and the judge without rubrics on the test part; none without pairs there."""
    calibration: Calibration | None
    """What fits the validation part; none without pairs there, or log-probabilities."""
    p_value: float | None
    """Of the set's lead over the judge without rubrics, on all held-out pairs; none without any."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldOutTest:
    """Measures one learned set."""

    job: RunningJob
    desk: Desk
    pictures: Pictures
    judge: JudgeIdentity
    options: EvaluationOptions
    data: LearningData
    name: str
    """Of the rubric set, for `name@none`."""

    async def run(self, content: RubricContent) -> Measured:
        """Judge what is held out. Raises `JobFailedError` like `evaluate_pairs`."""
        test = await self._evaluate("test", self.data.splits.test, content)
        report = await asyncio.to_thread(self._report, test) if test else None
        validation = await self._evaluate("validation", self.data.splits.validation, content)
        both = await self._evaluate("compare", self.data.held_out, content)
        return Measured(
            judge=self.judge,
            report=report,
            calibration=validation[0].calibration if validation else None,
            p_value=both[0].p_value if both else None,
        )

    async def _evaluate(
        self, part: str, rows: Sequence[DatasetRow], content: RubricContent
    ) -> tuple[RubricReport, ...] | None:
        """Reports of the set and of the judge without rubrics; none where there are too few pairs."""
        labelled = await asyncio.to_thread(pairs_of, rows)
        if sum(pair.label != 0 for pair in labelled) < MIN_PREFERENCES:
            return None
        none = RubricContent(task=content.task, language=content.language)
        return await evaluate_pairs(
            labelled,
            [
                (RubricIdentity(name=None, version=None, digest=content.digest), content),
                (RubricIdentity(name=self.name, version=None, digest=none.digest), none),
            ],
            desk=self.desk,
            pictures=self.pictures,
            judge=self.judge,
            options=self.options,
            on_stage=lambda what, total: self.job.stage(f"{part}: {what.replace(content.digest, 'learned')}", total),
            on_done=self.job.advance,
        )

    def _report(self, rubrics: tuple[RubricReport, ...]) -> EvaluationReport:
        return evaluation_report(
            self.data.dataset,
            pairs_of(self.data.splits.test),
            rubrics,
            split=SplitName.TEST,
            seed=self.job.seed,
            judge=self.judge,
        )
