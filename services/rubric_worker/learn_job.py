"""The job of kind `learn`: from labelled pairs to a published, measured rubric version.

Owns the order of things. How criteria are found is the method's business, how good they are the evaluation's, what is
written down the publication's. The one rule: nothing is published that is no better than the judge without rubrics,
unless that was asked for.
"""

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from services.judging.callers import CallClass
from services.judging.chat import ChatIdentity
from services.rubric_worker.desk import Desk, DeskLimits
from services.rubric_worker.evaluation.options import EvaluationOptions
from services.rubric_worker.held_out_test import HeldOutTest, Measured
from services.rubric_worker.job_kinds import JobFailedError
from services.rubric_worker.learning_data import LearningData, load
from services.rubric_worker.methods import arr, autorubric_t2i
from services.rubric_worker.methods.embedding_server import ServerEmbedder, not_configured
from services.rubric_worker.methods.embeddings import Embedder, TfidfEmbedder
from services.rubric_worker.methods.labels import known_pairs
from services.rubric_worker.methods.opinions import Opinions
from services.rubric_worker.publication import Record, publish
from services.rubric_worker.running_job import RunningJob
from services.rubric_worker.tools import Tools
from services.storage.errors import UnknownRubricError
from shared_schemas.autorubric import AutoRubricParameters
from shared_schemas.embedding import Embedding
from shared_schemas.learning import LearnFailure, LearnRequest
from shared_schemas.reward import JudgeIdentity
from shared_schemas.rubrics import RubricContent


class LearnJob:
    """Learns rubric sets, measures them, and publishes them."""

    def __init__(self, tools: Tools, *, limits: DeskLimits | None = None) -> None:
        self._tools = tools
        self._limits = limits

    async def run(self, job: RunningJob) -> Mapping[str, Any]:
        """Raises `JobFailedError` with a reason of `LearnFailure`; the evidence is a `LearnResult` without a rubric."""
        request = LearnRequest.model_validate(
            {key: value for key, value in job.parameters.items() if key != "name"} | {"seed": job.seed}
        )
        learning = _Learning(self._tools, job, name=job.parameters["name"], request=request, limits=self._limits)
        try:
            await learning.run()
        except JobFailedError as error:
            raise JobFailedError(error.reason, error.detail, evidence=learning.evidence()) from error
        except FileNotFoundError as error:
            detail = "an image of the dataset is gone; see to the blob store, or upload the dataset again"
            raise JobFailedError(LearnFailure.DATASET_GONE, detail, evidence=learning.evidence()) from error
        return {}


class _Learning:
    """One attempt at one job."""

    def __init__(
        self, tools: Tools, job: RunningJob, *, name: str, request: LearnRequest, limits: DeskLimits | None
    ) -> None:
        self._tools = tools
        self._job = job
        self._name = name
        self._request = request
        self._record = Record(job=job, significance=request.parameters.significance)
        self._desk = Desk(
            job,
            tools.judge_of,
            chat_of=tools.chat_of,
            call_class=CallClass.LEARNING,
            cache_scope=tools.cache_scope,
            limits=limits,
        )

    def evidence(self) -> Mapping[str, Any]:
        """What has been found out so far."""
        return self._record.result().model_dump(mode="json")

    async def run(self) -> None:
        """Split, learn, measure, publish."""
        data = await load(self._request, self._tools.datasets, tenant=self._job.tenant)
        embedder = self._embedder()
        judge, writer = await self._desk.judge(), await self._desk.writer()
        content = await self._learn(data, embedder)
        self._record.measured = await self._measure(content, data, judge)
        await self._check_who_answered(judge, writer)
        self._check_that_it_is_better()
        provenance = await self._provenance(data, judge, writer)
        await publish(self._record, content, name=self._name, alias=self._request.alias, provenance=provenance)

    async def _learn(self, data: LearningData, embedder: Embedder) -> RubricContent:
        parameters = self._request.parameters
        if isinstance(parameters, AutoRubricParameters):
            return await self._weigh(data, embedder, parameters)
        context = arr.Context(
            job=self._job,
            desk=self._desk,
            pictures=self._tools.pictures,
            opinions=self._opinions(),
            about=data.about,
            options=parameters,
        )
        proof = known_pairs(data.validation) or known_pairs(data.train)
        return await arr.learn(data.train, proof, context, embedder, self._record.findings)

    async def _weigh(self, data: LearningData, embedder: Embedder, parameters: AutoRubricParameters) -> RubricContent:
        prefix = f"job-{self._job.id}-"
        for left_behind in self._tools.scratch.glob(f"{prefix}*") if self._tools.scratch else ():
            shutil.rmtree(left_behind, ignore_errors=True)  # by an attempt that was killed
        with TemporaryDirectory(prefix=prefix, dir=self._tools.scratch) as folder:
            context = autorubric_t2i.Context(
                job=self._job,
                desk=self._desk,
                pictures=self._tools.pictures,
                opinions=self._opinions(),
                about=data.about,
                options=parameters,
                embedder=embedder,
                folder=Path(folder),
            )
            return await autorubric_t2i.learn(data.train, data.validation, context, self._record.findings)

    def _opinions(self) -> Opinions:
        return Opinions(self._desk, self._tools.pictures, tie_margin=self._tools.tie_margin)

    def _embedder(self) -> Embedder:
        parameters = self._request.parameters
        if parameters.embedding is Embedding.TFIDF:
            return TfidfEmbedder(parameters.language)
        if self._tools.embeddings is None:
            raise not_configured()
        return ServerEmbedder(
            self._tools.embeddings, spend=lambda tokens: self._job.spend(judge_calls=1, tokens=tokens)
        )

    async def _measure(self, content: RubricContent, data: LearningData, judge: JudgeIdentity) -> Measured:
        options = EvaluationOptions(
            dataset=data.dataset.digest,
            tie_margin=self._tools.tie_margin,
            seed=self._job.seed,
            max_failed_share=self._request.parameters.max_failed_share,
            per_criterion=content.is_scored,  # the judge has answered that anyway
            job=self._job.id,
        )
        test = HeldOutTest(
            job=self._job,
            desk=self._desk,
            pictures=self._tools.pictures,
            judge=judge,
            options=options,
            data=data,
            name=self._name,
        )
        return await test.run(content)

    async def _check_who_answered(self, judge: JudgeIdentity, writer: ChatIdentity) -> None:
        """Raise `JobFailedError` when another model came to answer on the way: a set is learned with one judge."""
        for before, now, reason in (
            (judge, await self._desk.judge(), LearnFailure.JUDGE_UNAVAILABLE),
            (writer, await self._desk.writer(), LearnFailure.CHAT_UNAVAILABLE),
        ):
            if now != before:
                raise JobFailedError(
                    reason,
                    f"another model answers by now ({now.model} instead of {before.model}, or with other settings); "
                    "ask again",
                )

    def _check_that_it_is_better(self) -> None:
        """Raise `JobFailedError` unless it is, or shall be published anyway."""
        if self._record.better_than_none or self._request.publish_anyway:
            return
        measured = self._record.measured
        p_value = None if measured is None else measured.p_value
        why = "there was nothing to compare on" if p_value is None else f"p = {p_value:.3g}"
        raise JobFailedError(
            LearnFailure.NO_BETTER_THAN_NONE,
            "the learned set is not shown to be better than the judge without rubrics on held-out pairs "
            f"({why}, and at most {self._request.parameters.significance:g} is needed); look at the report, at the "
            "labels, and label more pairs",
        )

    async def _provenance(self, data: LearningData, judge: JudgeIdentity, writer: ChatIdentity) -> Mapping[str, Any]:
        return {
            "method": self._request.method.value,
            "parent": await self._parent(),
            **await asyncio.to_thread(data.provenance),
            "config": self._request.parameters.model_dump(mode="json"),
            "seed": self._job.seed,
            "judge": judge.fingerprint,
            "chat": writer.fingerprint,
            "job": self._job.id,
        }

    async def _parent(self) -> str | None:
        """The version that was the newest when this one was learned."""
        try:
            return (await self._tools.rubrics.get(self._name)).digest
        except UnknownRubricError:
            return None
