"""The job of kind `evaluate`: from an `EvaluationRequest` to an `EvaluationReport`.

Owns which rows, which versions, and what is attached to them at the end. The one rule: nothing is attached before
everything is judged, and then all of it together with the job's end.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from services.judging.callers import CallClass
from services.rubric_worker.desk import Desk, DeskLimits
from services.rubric_worker.evaluation.evaluate import evaluate_pairs
from services.rubric_worker.evaluation.headline import headline
from services.rubric_worker.evaluation.learned_from import rows_learned_from
from services.rubric_worker.evaluation.options import EvaluationOptions
from services.rubric_worker.evaluation.references import Subject, resolve
from services.rubric_worker.evaluation.report import evaluation_report
from services.rubric_worker.evaluation.sample import sampled
from services.rubric_worker.job_kinds import JobFailedError
from services.rubric_worker.labelled_pairs import LabelledPair, pairs_of
from services.rubric_worker.running_job import RunningJob
from services.rubric_worker.tools import Tools
from services.storage.job_claims import Commit
from services.storage.rubric_records import attach_calibration, attach_metrics
from services.storage.splits import Part, split
from shared_schemas.datasets import Dataset, DatasetRow
from shared_schemas.evaluations import EvaluationFailure, EvaluationReport, EvaluationRequest, SplitName
from shared_schemas.reward import JudgeIdentity


class EvaluateJob:
    """Measures rubric versions, and the judge without rubrics, on the pairs of a dataset."""

    def __init__(self, tools: Tools, *, limits: DeskLimits | None = None) -> None:
        self._tools = tools
        self._limits = limits

    async def run(self, job: RunningJob) -> Mapping[str, Any]:
        """Judge, report, attach. Raises `JobFailedError` with a reason of `EvaluationFailure`."""
        request = EvaluationRequest.model_validate({**job.parameters, "seed": job.seed})
        dataset = await self._tools.datasets.get(request.dataset, tenant=job.tenant)
        if dataset is None:
            raise JobFailedError(EvaluationFailure.DATASET_GONE, f"there is no dataset {request.dataset} any more")
        subjects = await resolve(request.rubrics, self._tools.rubrics, task=dataset.task)
        rows = await self._tools.datasets.rows(dataset.id)
        labelled = await asyncio.to_thread(_pairs, rows, request)
        desk = self._desk(job, scope=self._tools.cache_scope)
        judge = await desk.judge()
        learned_from = await asyncio.to_thread(_learned_from, subjects, dataset, rows)
        # Answers of the second run are remembered, too, but for this job alone: begun again, it finds them.
        again = self._desk(job, scope=f"second-run-of-job-{job.id}") if request.agreement else None
        rubrics = await evaluate_pairs(
            labelled,
            [(subject.identity, subject.content) for subject in subjects],
            desk=desk,
            again=again,
            pictures=self._tools.pictures,
            judge=judge,
            options=self._options(job, request, dataset, subjects=subjects, learned_from=learned_from),
            on_stage=job.stage,
            on_done=job.advance,
        )
        await _check_who_judges(desk, judge)
        report = evaluation_report(dataset, labelled, rubrics, split=request.split, seed=request.seed, judge=judge)
        async with job.commit() as commit:
            await _attach(commit, report, job=job, calibrate=request.calibrate)
            commit.finish(report.model_dump(mode="json"))
        return {}

    def _options(
        self,
        job: RunningJob,
        request: EvaluationRequest,
        dataset: Dataset,
        *,
        subjects: Sequence[Subject],
        learned_from: Mapping[str, frozenset[str]],
    ) -> EvaluationOptions:
        return EvaluationOptions(
            dataset=dataset.digest,
            tie_margin=self._tools.tie_margin,
            calibrations={subject.content.digest: subject.calibration for subject in subjects},
            learned_from=learned_from,
            seed=request.seed,
            injection=request.injection,
            per_criterion=request.per_criterion,
            max_failed_share=request.max_failed_share,
            job=job.id,
        )

    def _desk(self, job: RunningJob, *, scope: str | None) -> Desk:
        call_class = CallClass.EVALUATION
        return Desk(job, self._tools.judge_of, call_class=call_class, cache_scope=scope, limits=self._limits)


async def _check_who_judges(desk: Desk, judge: JudgeIdentity) -> None:
    """Raise `JobFailedError` when another judge came to answer on the way: a report is about one."""
    if (now := await desk.judge()) != judge:
        detail = f"another judge answers by now ({now.model} instead of {judge.model}, or with other settings)"
        raise JobFailedError(EvaluationFailure.JUDGE_UNAVAILABLE, detail)


def _pairs(rows: Sequence[DatasetRow], request: EvaluationRequest) -> tuple[LabelledPair, ...]:
    """The labelled pairs that are judged."""
    if request.split is not SplitName.ALL:
        splits = split(rows, seed=request.seed, fractions=request.fractions)
        rows = splits.rows_of(Part(request.split))
    return sampled(pairs_of(rows), max_pairs=request.max_pairs, seed=request.seed)


def _learned_from(
    subjects: Sequence[Subject], dataset: Dataset, rows: Sequence[DatasetRow]
) -> dict[str, frozenset[str]]:
    """Digest of each set → digests of the rows that it was learned from."""
    return {one.content.digest: rows_learned_from(one.provenance, dataset, rows) for one in subjects}


async def _attach(commit: Commit, report: EvaluationReport, *, job: RunningJob, calibrate: bool) -> None:
    """Metrics to versions that have seen none of the labels; what fits the pairs to every set, and to `none`."""
    *_, none = report.rubrics
    judge, dataset = report.judge, report.dataset_digest
    for rubric in report.rubrics:
        name, version = rubric.rubric.name, rubric.rubric.version
        if name is not None and version is not None and not rubric.num_learned_from:
            metrics = headline(rubric, none=none, judge=judge, dataset=dataset, job=job.id)
            await attach_metrics(commit.session, name, version, metrics)
        if calibrate and rubric.calibration is not None:
            await attach_calibration(commit.session, rubric.rubric.digest, judge.fingerprint, rubric.calibration)
