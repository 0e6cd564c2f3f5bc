"""What a learning job leaves behind: its result, and a version with what is attached to it.

The one rule: version, metrics, calibration, alias and the job's end are one transaction; a worker that is not the job's
any more writes none of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import stamina
from sqlalchemy.exc import IntegrityError

from services.rubric_worker.evaluation.headline import headline
from services.rubric_worker.held_out_test import Measured
from services.rubric_worker.methods.findings import Findings
from services.rubric_worker.running_job import RunningJob
from services.storage.rubric_records import attach_calibration, attach_metrics
from services.storage.rubrics import point_alias, publish_version
from shared_schemas.evaluations import EvaluationReport
from shared_schemas.learning import LearnResult, StageCost
from shared_schemas.rubrics import RubricContent, RubricIdentity


@dataclass(kw_only=True, slots=True)
class Record:
    """Everything that a learning job has found out so far; when it fails, the evidence."""

    job: RunningJob
    significance: float
    """Level of the test that the set must pass."""
    findings: Findings = field(default_factory=Findings)
    """The method's."""
    measured: Measured | None = None
    """The evaluation's; none = it did not come to that."""

    @property
    def better_than_none(self) -> bool:
        """Whether the set beats the judge without rubrics."""
        p_value = None if self.measured is None else self.measured.p_value
        return p_value is not None and p_value <= self.significance

    def result(self, *, rubric: RubricIdentity | None = None, is_new: bool = False) -> LearnResult:
        """As the job shows it; `rubric` is the published version."""
        report = None if self.measured is None else self.measured.report
        return LearnResult(
            rubric=rubric,
            is_new=is_new,
            proposals=self.findings.proposals,
            num_candidates=self.findings.num_candidates,
            num_selected=self.findings.num_selected,
            structured=self.findings.structured,
            structure_problem=self.findings.structure_problem,
            sparse=self.findings.sparse,
            better_than_none=self.better_than_none,
            p_value=None if self.measured is None else self.measured.p_value,
            report=report if report is None or rubric is None else _about(report, rubric),
            stages=tuple(
                StageCost(name=stage.name, judge_calls=stage.judge_calls, tokens=stage.tokens, seconds=stage.seconds)
                for stage in self.job.progress.now().stages
            ),
        )


@stamina.retry(on=IntegrityError, attempts=20, wait_initial=0.005, wait_jitter=0.05, wait_max=0.5)
async def publish(
    record: Record, content: RubricContent, *, name: str, alias: str | None, provenance: Mapping[str, Any]
) -> None:
    """Publish `content` as a version of `name` and finish the job. Raises like `RunningJob.commit`.

    Publishers that race for a number, or an alias, are told apart by the primary key; the loser tries once more.
    """
    async with record.job.commit() as commit:
        version, is_new = await publish_version(commit.session, name, content, provenance=provenance)
        identity = RubricIdentity(name=name, version=version.version, digest=version.digest)
        result = record.result(rubric=identity, is_new=is_new)
        measured = record.measured
        if result.report is not None:
            learned, none = result.report.rubrics
            metrics = headline(
                learned,
                none=none,
                judge=result.report.judge,
                dataset=result.report.dataset_digest,
                job=record.job.id,
            )
            await attach_metrics(commit.session, name, version.version, metrics)
        if measured is not None and measured.calibration is not None:
            fingerprint = measured.judge.fingerprint
            await attach_calibration(commit.session, version.digest, fingerprint, measured.calibration)
        if alias is not None:
            await point_alias(commit.session, name, alias, version.version)
        commit.finish(result.model_dump(mode="json"))


def _about(report: EvaluationReport, rubric: RubricIdentity) -> EvaluationReport:
    """The same report, the set under the name it was published by."""
    learned, *others = report.rubrics
    return report.model_copy(update={"rubrics": (learned.model_copy(update={"rubric": rubric}), *others)})
