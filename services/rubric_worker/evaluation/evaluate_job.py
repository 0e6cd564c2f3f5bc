"""The job of kind `evaluate`: from an `EvaluationRequest` to an `EvaluationReport`.

Owns which rows, which versions, and what is attached to them at the end. The one rule: nothing is attached before
everything is judged, and then all of it together with the job's end.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from services.judging.callers import CallClass
from services.rubric_worker.desk import Desk, DeskLimits
from services.rubric_worker.evaluation.anchors import ANCHORS
from services.rubric_worker.evaluation.evaluate import evaluate_pairs
from services.rubric_worker.evaluation.headline import headline
from services.rubric_worker.evaluation.options import EvaluationOptions
from services.rubric_worker.evaluation.references import Subject, resolve
from services.rubric_worker.evaluation.sample import sampled
from services.rubric_worker.evaluation.table import prompt_key
from services.rubric_worker.job_kinds import JobFailedError
from services.rubric_worker.labelled_pairs import LabelledPair, pairs_of
from services.rubric_worker.running_job import RunningJob
from services.rubric_worker.tools import Tools
from services.storage.job_claims import Commit
from services.storage.rubric_records import attach_calibration, attach_metrics
from services.storage.splits import Part, split
from shared_schemas.datasets import Dataset, DatasetRow
from shared_schemas.evaluations import EvaluationFailure, EvaluationReport, EvaluationRequest, RubricReport, SplitName
from shared_schemas.reward import JudgeIdentity


class EvaluateJob:
    """Measures rubric versions, and the judge without rubrics, on the pairs of a dataset."""

    def __init__(self, tools: Tools, *, limits: DeskLimits | None = None) -> None:
        self._tools = tools
        self._limits = limits or DeskLimits()

    async def run(self, job: RunningJob) -> Mapping[str, Any]:
        """Judge, report, attach. Raises `JobFailedError` with a reason of `EvaluationFailure`."""
        request = EvaluationRequest.model_validate({**job.parameters, "seed": job.seed})
        dataset = await self._tools.datasets.get(request.dataset, tenant=job.tenant)
        if dataset is None:
            raise JobFailedError(EvaluationFailure.DATASET_GONE, f"there is no dataset {request.dataset} any more")
        subjects = await resolve(request.rubrics, self._tools.rubrics, task=dataset.task)
        rows = await self._tools.datasets.rows(dataset.id)
        labelled = await asyncio.to_thread(_pairs, rows, request)
        judge = await self._judge()
        rubrics = await self._evaluate(job, request, dataset, subjects=subjects, labelled=labelled, judge=judge)
        report = _report(request, dataset, labelled=labelled, judge=judge, rubrics=rubrics)
        async with job.commit() as commit:
            await _attach(commit, report, job=job, calibrate=request.calibrate)
            commit.finish(report.model_dump(mode="json"))
        return {}

    async def _evaluate(
        self,
        job: RunningJob,
        request: EvaluationRequest,
        dataset: Dataset,
        *,
        subjects: Sequence[Subject],
        labelled: Sequence[LabelledPair],
        judge: JudgeIdentity,
    ) -> tuple[RubricReport, ...]:
        options = EvaluationOptions(
            dataset=dataset.digest,
            tie_margin=self._tools.tie_margin,
            calibrations={subject.content.digest: subject.calibration for subject in subjects},
            seed=request.seed,
            injection=request.injection,
            per_criterion=request.per_criterion,
            max_failed_share=request.max_failed_share,
            job=job.id,
        )
        rubrics = await evaluate_pairs(
            labelled,
            [(subject.identity, subject.content) for subject in subjects],
            desk=self._desk(job, scope=self._tools.cache_scope),
            # Answers of the second run are remembered, too, but for this job alone: begun again, it finds them.
            again=self._desk(job, scope=f"second-run-of-job-{job.id}") if request.agreement else None,
            pictures=self._tools.pictures,
            judge=judge,
            options=options,
            on_stage=job.stage,
            on_done=job.advance,
        )
        if (now := await self._judge()) != judge:
            detail = f"another judge answers by now ({now.model} instead of {judge.model}, or with other settings)"
            raise JobFailedError(EvaluationFailure.JUDGE_UNAVAILABLE, detail)
        return rubrics

    def _desk(self, job: RunningJob, *, scope: str | None) -> Desk:
        call_class = CallClass.EVALUATION
        return Desk(job, self._tools.judge_of, call_class=call_class, cache_scope=scope, limits=self._limits)

    async def _judge(self) -> JudgeIdentity:
        """Who judges. Waits as patiently as a desk for one that is not there."""
        patience, pause = (limit.total_seconds() for limit in (self._limits.patience, self._limits.pause))
        try:
            async with asyncio.timeout(patience):
                while (judge := self._tools.judge_of()) is None:  # noqa: ASYNC110 - nobody tells when it is there
                    await asyncio.sleep(pause)
        except TimeoutError:
            detail = f"the judge has not been there for {patience:g} s"
            raise JobFailedError(EvaluationFailure.JUDGE_UNAVAILABLE, detail) from None
        return judge.identity


def _pairs(rows: Sequence[DatasetRow], request: EvaluationRequest) -> tuple[LabelledPair, ...]:
    """The labelled pairs that are judged."""
    if request.split is not SplitName.ALL:
        fractions = {Part(name): share for name, share in request.fractions.model_dump().items()}
        splits = split(rows, seed=request.seed, fractions=fractions)
        parts = {
            SplitName.TRAIN: splits.train,
            SplitName.VALIDATION: splits.validation,
            SplitName.TEST: splits.test,
        }
        rows = parts[request.split]
    return sampled(pairs_of(rows), max_pairs=request.max_pairs, seed=request.seed)


def _report(
    request: EvaluationRequest,
    dataset: Dataset,
    *,
    labelled: Sequence[LabelledPair],
    judge: JudgeIdentity,
    rubrics: tuple[RubricReport, ...],
) -> EvaluationReport:
    return EvaluationReport(
        dataset=dataset.id,
        dataset_digest=dataset.digest,
        task=dataset.task,
        split=request.split,
        seed=request.seed,
        judge=judge,
        num_rows=len({one.row for one in labelled}),
        num_prompts=len({prompt_key(one.pair.prompt) for one in labelled}),
        num_ties=sum(one.label == 0 for one in labelled),
        rubrics=rubrics,
        anchors=ANCHORS[dataset.task],
    )


async def _attach(commit: Commit, report: EvaluationReport, *, job: RunningJob, calibrate: bool) -> None:
    """Metrics to every version; what fits the pairs to every set, the judge without rubrics included."""
    *_, none = report.rubrics
    judge, dataset = report.judge, report.dataset_digest
    for rubric in report.rubrics:
        name, version = rubric.rubric.name, rubric.rubric.version
        if name is not None and version is not None:
            metrics = headline(rubric, none=none, judge=judge, dataset=dataset, job=job.id)
            await attach_metrics(commit.session, name, version, metrics)
        if calibrate and rubric.calibration is not None:
            await attach_calibration(commit.session, rubric.rubric.digest, judge.fingerprint, rubric.calibration)
