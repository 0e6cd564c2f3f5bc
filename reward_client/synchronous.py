"""`RewardClient`: blocking calls over one pool of connections; may be shared between threads."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from reward_client.retries import Deadline, RetryPolicy, backoff, blocking, no_answer
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


class RewardClient:
    """A connection to the reward service. Close it, or use it in a `with` statement.

    Every method raises `RewardClientError` (see `reward_client.errors`) when the call as a whole did not succeed.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        retries: RetryPolicy | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Connect to the service at `base_url`, with an `api_key` where it asks for one.

        The key goes to that address and to no other: redirects are not followed. `transport` is httpx's seam, for tests
        and tunnels. Raises `ValueError` when `base_url` is no http(s) URL or `api_key` is not one line of ASCII.
        """
        policy = retries or RetryPolicy()
        self._patience = policy.deadline
        self._retrying = blocking(policy)
        url = service_url(base_url)
        trust_env = ask_environment_for_proxies(url)
        self._http = httpx.Client(
            base_url=url,
            headers=credentials(api_key, url=url),
            transport=transport,
            trust_env=trust_env,
            follow_redirects=False,
        )

    def reward(
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
        prepared = prepare_reward(groups, options)
        return prepared.wrap(self._send(prepared.call))

    def resolve_rubric(self, reference: str, *, task: Task = Task.T2I) -> RubricIdentity:
        """Pin `name`, `name@3`, `name@alias` or `name@none` to what it names now; pass the result to `reward`.

        `task` says what `name@none` shall judge; everything else has a task of its own.
        """
        parsed = RubricReference.parse(reference)
        if parsed.is_none:
            return identity_without_rubric(parsed, task)
        version = parsed.version
        if parsed.alias is not None:
            version = self._send(calls.alias(parsed.name, parsed.alias)).version
        if version is not None:
            return identity_of_version(self._send(calls.rubric_version(parsed.name, version)))
        return identity_of_newest(self._send(calls.rubric_summary(parsed.name)))

    def get_rubric(self, name: str, version: int) -> RubricVersion:
        """One version with its content and provenance."""
        return self._send(calls.rubric_version(name, version))

    def publish_rubric(
        self, name: str, content: RubricContent, provenance: Mapping[str, Any] | None = None
    ) -> RubricVersion:
        """Publish a new version; content that is already published gives its version back."""
        return self._send(calls.publish_rubric(name, content, provenance or {}))

    def set_alias(self, name: str, alias: str, version: int, *, expected: int | None = None) -> AliasState:
        """Point an alias at a version; with `expected`, only if it points at that version now."""
        return self._send(calls.set_alias(name, alias, version, expected=expected))

    def list_rubrics(self, *, archived: bool = False) -> Iterator[RubricSummary]:
        """Every rubric set, ordered by name; pages are fetched as they are needed.

        Sets of which every version is archived come with `archived` only.
        """
        page = self._send(calls.rubric_page(archived=archived, after=None))
        yield from page.items
        while page.next is not None:
            page = self._send(calls.rubric_page(archived=archived, after=page.next))
            yield from page.items

    def list_rubric_versions(self, name: str, *, archived: bool = False) -> Iterator[RubricVersion]:
        """The versions of a set, newest first, archived ones with `archived` only; pages come as needed."""
        page = self._send(calls.rubric_version_page(name, archived=archived, before=None))
        yield from page.items
        while page.next is not None:
            page = self._send(calls.rubric_version_page(name, archived=archived, before=page.next))
            yield from page.items

    def diff_rubric(self, name: str, before: int, after: int) -> RubricDiff:
        """What became of each criterion from one version of a set to another."""
        return self._send(calls.diff_rubric(name, before, after))

    def archive_rubric(self, name: str, version: int, *, archived: bool = True) -> RubricVersion:
        """Hide a version from listings, or show it again; it is found by its number all the while.

        Raises `RequestRejected` (`archived-alias`) while an alias points at it.
        """
        return self._send(calls.archive_rubric(name, version, archived=archived))

    def learn(self, name: str, request: LearnRequest) -> Job:
        """Begin to learn a rubric set from labelled pairs; it becomes the next version of `name`.

        `wait_for_job` waits for it, and `LearnResult.model_validate(job.result)` reads what came of it.
        """
        return self._send(calls.learn(name, request)).job

    def evaluate(self, request: EvaluationRequest) -> Job:
        """Begin to measure rubric versions on labelled pairs.

        `wait_for_job` waits for it, and `EvaluationReport.model_validate(job.result)` reads what came of it.
        """
        return self._send(calls.evaluate(request)).job

    def judgement(self, judgement_id: int) -> JudgementDetail:
        """One judgement with its rubric set and, where kept, its images."""
        return self._send(calls.judgement(judgement_id))

    def judgements(self, *, run: str | None = None, rubric: str | None = None) -> Iterator[Judgement]:
        """Judgements, newest first; pages are fetched as they are needed.

        `run` keeps those of one training run, `rubric` those by `name` (any version), `name@3` or a digest. A key sees
        the judgements of its tenant, one with the scope `admin` all.
        """
        page = self._send(calls.judgement_page(run=run, rubric=rubric, before=None))
        yield from page.items
        while page.next is not None:
            page = self._send(calls.judgement_page(run=run, rubric=rubric, before=page.next))
            yield from page.items

    def upload_dataset(
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
        pairs = rows_as_json_lines(rows)
        return self._send(calls.upload_dataset(pairs, image_contents(images), deadline=deadline))

    def dataset(self, dataset_id: int) -> Dataset:
        """What is known about one dataset."""
        return self._send(calls.dataset(dataset_id))

    def datasets(self) -> Iterator[Dataset]:
        """The datasets of the key's tenant (of all, with the scope `admin`), newest first; pages come as needed."""
        page = self._send(calls.dataset_page(None))
        yield from page.items
        while page.next is not None:
            page = self._send(calls.dataset_page(page.next))
            yield from page.items

    def job(self, job_id: int) -> Job:
        """How far a job is, and what came of it."""
        return self._send(calls.job(job_id))

    def jobs(self, *, state: JobState | None = None, kind: str | None = None) -> Iterator[Job]:
        """The jobs of the key's tenant (of all, with the scope `admin`), newest first; pages come as needed."""
        page = self._send(calls.job_page(state=state, kind=kind, before=None))
        yield from page.items
        while page.next is not None:
            page = self._send(calls.job_page(state=state, kind=kind, before=page.next))
            yield from page.items

    def wait_for_job(
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
            pause = watch.look(self.job(job_id))
            if pause is None:
                return watch.job
            time.sleep(pause.total_seconds())

    def cancel_job(self, job_id: int) -> Job:
        """Stop a job: at once when it waits, within seconds when it runs. A final job stays as it is."""
        return self._send(calls.cancel_job(job_id))

    def readiness(self) -> Readiness:
        """Whether the service can judge now, and who judges."""
        return self._send(calls.readiness())

    def close(self) -> None:
        """Close the connections. A call still in flight on another thread is not tried again."""
        self._http.close()

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.close()

    def _send(self, call: Call[T]) -> T:
        deadline = Deadline(call.deadline or self._patience)
        decide = backoff(deadline)
        # No arguments: stamina would write their `repr`, megabytes of images, into the log of every retry.
        return self._retrying(
            lambda error: not self._http.is_closed and decide(error), lambda: self._attempt(call, deadline)
        )

    def _attempt(self, call: Call[T], deadline: Deadline) -> T:
        request = call.request(self._http, timeout_seconds=deadline.remaining_seconds())
        try:
            response = self._http.send(request)
        except httpx.TransportError as error:
            raise no_answer(error) from error
        return read_answer(call, response)
