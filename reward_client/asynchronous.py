"""`AsyncRewardClient`: the same calls for asyncio; images are encoded off the event loop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from reward_client import calls
from reward_client.calls import Call, read_answer
from reward_client.datasets import UPLOAD_DEADLINE, Row, image_contents, rows_as_json_lines
from reward_client.groups import CandidateGroup
from reward_client.jobs import JobWatch, ignore_progress
from reward_client.requests import RewardOptions, prepare_reward
from reward_client.result import RewardResult
from reward_client.retries import Deadline, RetryPolicy, backoff, no_answer, non_blocking
from reward_client.rubrics import identity_of_newest, identity_of_version, identity_without_rubric
from reward_client.transport import ask_environment_for_proxies, credentials, service_url
from shared_schemas.datasets import Dataset
from shared_schemas.evaluations import EvaluationRequest
from shared_schemas.health import Readiness
from shared_schemas.jobs import Job, JobState
from shared_schemas.judgements import Judgement, JudgementDetail
from shared_schemas.learning import LearnRequest
from shared_schemas.reward import CachePolicy, Orders, RewardScheme, Run
from shared_schemas.rubrics import (
    AliasState,
    Mode,
    RubricContent,
    RubricDiff,
    RubricIdentity,
    RubricReference,
    RubricSummary,
    RubricVersion,
    Task,
)

T = TypeVar("T")


class AsyncRewardClient:
    """A connection to the reward service. Close it, or use it in an `async with` statement.

    Every method raises `RewardClientError` (see `reward_client.errors`) when the call as a whole did not succeed.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        retries: RetryPolicy | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Connect to the service at `base_url`, with an `api_key` where it asks for one.

        The key goes to that address and to no other: redirects are not followed. `transport` is httpx's seam, for tests
        and tunnels. Raises `ValueError` when `base_url` is no http(s) URL or `api_key` is not one line of ASCII.
        """
        policy = retries or RetryPolicy()
        self._patience = policy.deadline
        self._retrying = non_blocking(policy)
        url = service_url(base_url)
        trust_env = ask_environment_for_proxies(url)
        self._http = httpx.AsyncClient(
            base_url=url,
            headers=credentials(api_key, url=url),
            transport=transport,
            trust_env=trust_env,
            follow_redirects=False,
        )

    async def reward(
        self,
        groups: Sequence[CandidateGroup],
        *,
        rubric: RubricIdentity | RubricContent | str,
        mode: Mode | None = None,
        orders: Orders = Orders.BOTH,
        reward: RewardScheme | None = None,
        tie_margin: float | None = None,
        tie_score: float | None = None,
        per_criterion: bool = False,
        run: Run | None = None,
        cache: CachePolicy = CachePolicy.USE,
        deadline_seconds: float | None = None,
    ) -> RewardResult:
        """Judge the candidates of every group.

        `rubric` is a reference, what `resolve_rubric` made of one, or the content of a set itself. `mode` none = the
        rubric set's own; `reward` none = the service's choice for the mode. `tie_margin` is in nats, for pairs (none =
        the service's default), `tie_score` in scores, for single pictures (none = the calibrated width, or only equal
        ones tie).
        What is not judged within `deadline_seconds` comes back as a failed group.

        Raises `ValueError` or `TypeError` for a picture, group or option that cannot be sent.
        """
        options = RewardOptions(
            rubric=rubric,
            mode=mode,
            orders=orders,
            reward=reward,
            tie_margin=tie_margin,
            tie_score=tie_score,
            per_criterion=per_criterion,
            run=run,
            cache=cache,
            deadline_seconds=deadline_seconds,
        )
        prepared = await asyncio.to_thread(prepare_reward, groups, options)
        return prepared.wrap(await self._send(prepared.call))

    async def resolve_rubric(self, reference: str, *, task: Task = Task.T2I) -> RubricIdentity:
        """Pin `name`, `name@3`, `name@alias` or `name@none` to what it names now; pass the result to `reward`.

        `task` says what `name@none` shall judge; everything else has a task of its own.
        """
        parsed = RubricReference.parse(reference)
        if parsed.is_none:
            return identity_without_rubric(parsed, task)
        version = parsed.version
        if parsed.alias is not None:
            version = (await self._send(calls.alias(parsed.name, parsed.alias))).version
        if version is not None:
            return identity_of_version(await self._send(calls.rubric_version(parsed.name, version)))
        return identity_of_newest(await self._send(calls.rubric_summary(parsed.name)))

    async def get_rubric(self, name: str, version: int) -> RubricVersion:
        """One version with its content and provenance."""
        return await self._send(calls.rubric_version(name, version))

    async def publish_rubric(
        self, name: str, content: RubricContent, provenance: Mapping[str, Any] | None = None
    ) -> RubricVersion:
        """Publish a new version; content that is already published gives its version back."""
        return await self._send(calls.publish_rubric(name, content, provenance or {}))

    async def set_alias(self, name: str, alias: str, version: int, *, expected: int | None = None) -> AliasState:
        """Point an alias at a version; with `expected`, only if it points at that version now."""
        return await self._send(calls.set_alias(name, alias, version, expected=expected))

    async def list_rubrics(self, *, archived: bool = False) -> AsyncIterator[RubricSummary]:
        """Every rubric set, ordered by name; pages are fetched as they are needed.

        Sets of which every version is archived come with `archived` only.
        """
        page = await self._send(calls.rubric_page(archived=archived, after=None))
        for summary in page.items:
            yield summary
        while page.next is not None:
            page = await self._send(calls.rubric_page(archived=archived, after=page.next))
            for summary in page.items:
                yield summary

    async def list_rubric_versions(self, name: str, *, archived: bool = False) -> AsyncIterator[RubricVersion]:
        """The versions of a set, newest first, archived ones with `archived` only; pages come as needed."""
        page = await self._send(calls.rubric_version_page(name, archived=archived, before=None))
        for version in page.items:
            yield version
        while page.next is not None:
            page = await self._send(calls.rubric_version_page(name, archived=archived, before=page.next))
            for version in page.items:
                yield version

    async def diff_rubric(self, name: str, before: int, after: int) -> RubricDiff:
        """What became of each criterion from one version of a set to another."""
        return await self._send(calls.diff_rubric(name, before, after))

    async def archive_rubric(self, name: str, version: int, *, archived: bool = True) -> RubricVersion:
        """Hide a version from listings, or show it again; it is found by its number all the while.

        Raises `RequestRejected` (`archived-alias`) while an alias points at it.
        """
        return await self._send(calls.archive_rubric(name, version, archived=archived))

    async def learn(self, name: str, request: LearnRequest) -> Job:
        """Begin to learn a rubric set from labelled pairs; it becomes the next version of `name`.

        `wait_for_job` waits for it, and `LearnResult.model_validate(job.result)` reads what came of it.
        """
        return (await self._send(calls.learn(name, request))).job

    async def evaluate(self, request: EvaluationRequest) -> Job:
        """Begin to measure rubric versions on labelled pairs.

        `wait_for_job` waits for it, and `EvaluationReport.model_validate(job.result)` reads what came of it.
        """
        return (await self._send(calls.evaluate(request))).job

    async def judgement(self, judgement_id: int) -> JudgementDetail:
        """One judgement with its rubric set and, where kept, its images."""
        return await self._send(calls.judgement(judgement_id))

    async def judgements(self, *, run: str | None = None, rubric: str | None = None) -> AsyncIterator[Judgement]:
        """Judgements, newest first; pages are fetched as they are needed.

        `run` keeps those of one training run, `rubric` those by `name` (any version), `name@3` or a digest. A key sees
        the judgements of its tenant, one with the scope `admin` all.
        """
        page = await self._send(calls.judgement_page(run=run, rubric=rubric, before=None))
        for judgement in page.items:
            yield judgement
        while page.next is not None:
            page = await self._send(calls.judgement_page(run=run, rubric=rubric, before=page.next))
            for judgement in page.items:
                yield judgement

    async def upload_dataset(
        self,
        rows: Iterable[Row],
        images: Mapping[str, bytes | Path],
        *,
        deadline: timedelta = UPLOAD_DEADLINE,
    ) -> Dataset:
        """Store labelled rows and the PNG, JPEG or WebP files that they name; the same rows again are the same dataset.

        Files are read while they are sent. `deadline` is for the whole upload with all its attempts. Raises
        `RequestRejected` when the service finds faults, each named in `.problem.errors`; `ValueError` or `TypeError`
        for rows that are no JSON and names that cannot be sent; `OSError` for a file that cannot be read.
        """
        pairs = await asyncio.to_thread(rows_as_json_lines, rows)
        return await self._send(calls.upload_dataset(pairs, image_contents(images), deadline=deadline))

    async def dataset(self, dataset_id: int) -> Dataset:
        """What is known about one dataset."""
        return await self._send(calls.dataset(dataset_id))

    async def datasets(self) -> AsyncIterator[Dataset]:
        """The datasets of the key's tenant (of all, with the scope `admin`), newest first; pages come as needed."""
        page = await self._send(calls.dataset_page(None))
        for dataset in page.items:
            yield dataset
        while page.next is not None:
            page = await self._send(calls.dataset_page(page.next))
            for dataset in page.items:
                yield dataset

    async def job(self, job_id: int) -> Job:
        """How far a job is, and what came of it."""
        return await self._send(calls.job(job_id))

    async def jobs(self, *, state: JobState | None = None, kind: str | None = None) -> AsyncIterator[Job]:
        """The jobs of the key's tenant (of all, with the scope `admin`), newest first; pages come as needed."""
        page = await self._send(calls.job_page(state=state, kind=kind, before=None))
        for job in page.items:
            yield job
        while page.next is not None:
            page = await self._send(calls.job_page(state=state, kind=kind, before=page.next))
            for job in page.items:
                yield job

    async def wait_for_job(
        self,
        job_id: int,
        *,
        on_progress: Callable[[Job], None] = ignore_progress,
        deadline: timedelta | None = None,
    ) -> Job:
        """Return the job once it is final, whether it succeeded or not; `on_progress` sees it whenever it changes.

        Raises `TimeoutError` after `deadline`; the job goes on then. None = wait for as long as it takes.
        """
        watch = JobWatch(on_progress, deadline=deadline)
        while True:
            pause = watch.look(await self.job(job_id))
            if pause is None:
                return watch.job
            await asyncio.sleep(pause.total_seconds())

    async def cancel_job(self, job_id: int) -> Job:
        """Stop a job: at once when it waits, within seconds when it runs. A final job stays as it is."""
        return await self._send(calls.cancel_job(job_id))

    async def readiness(self) -> Readiness:
        """Whether the service can judge now, and who judges."""
        return await self._send(calls.readiness())

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        """Return the client itself."""
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.aclose()

    async def _send(self, call: Call[T]) -> T:
        deadline = Deadline(call.deadline or self._patience)
        # No arguments: stamina would write their `repr`, megabytes of images, into the log of every retry.
        return await self._retrying(backoff(deadline), lambda: self._attempt(call, deadline))

    async def _attempt(self, call: Call[T], deadline: Deadline) -> T:
        request = call.request(self._http, timeout_seconds=deadline.remaining_seconds())
        try:
            response = await self._http.send(request)
        except httpx.TransportError as error:
            raise no_answer(error) from error
        return read_answer(call, response)
