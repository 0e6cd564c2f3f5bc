"""Rewards over HTTP: pin who judges, post candidates while the next are sampled, collect what came back.

The one rule: no number is ever made up here. A group without a reward is NaN and leaves the loss.
"""

import os
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from threading import BoundedSemaphore, Event, Thread
from types import TracebackType
from typing import Self

import stamina
import torch
from torch import Tensor

from reward_client import CandidateGroup, RewardClient, RewardClientError, RewardResult, ServiceUnavailable
from reward_client.retries import RetryPolicy
from shared_schemas.reward import GroupResult, JudgeIdentity, RewardScheme, Run, Scheme, Status
from shared_schemas.rubrics import Mode, RubricContent, RubricIdentity, Task
from trainer.config import RewardConfig
from trainer.data import Example, open_source
from trainer.distributed import Runtime
from trainer.errors import ConfigError, RewardsUnavailable
from trainer.rollout import Rollout

API_KEY = "ARR_API_KEY"
"""Environment variable with the key for the reward service; recipes and logs never hold it."""

_NO_LIMIT = 10_000
"""Attempts per request; the deadline decides."""

_FIRST_PAUSE = timedelta(seconds=1)
_LONGEST_PAUSE = timedelta(seconds=30)
"""Between requests while the service or its judge is away."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pinned:
    """Who judges this run, from its first step to its last."""

    rubric: RubricIdentity
    judge: JudgeIdentity
    mode: Mode
    """How: the recipe's word, or else the rubric set's own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRewards:
    """Rewards of one step, of all processes, in the order of its groups."""

    rewards_PG: Tensor
    """float32; NaN where a group is tied or failed."""
    num_judged: int
    """Groups that are scored or tied."""
    results: tuple[GroupResult, ...]
    """P results."""
    judge_calls: int
    """Calls that reached the judge."""
    wait_seconds: float
    """How long the loop stood still for them."""


class RewardSource:
    """One run's connection to the reward service. A context manager; requests run on threads of its own."""

    def __init__(
        self,
        config: RewardConfig,
        *,
        run_id: str,
        num_threads: int,
        task: Task | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        """Pin who judges; `runtime` none = this process is the whole run.

        Raises `ConfigError` for a wrong address, or a rubric that is not for `task`, where one is named.
        """
        self._config = config
        self._run_id = run_id
        self._runtime = runtime or Runtime()
        self.pinned = self._runtime.once(lambda: _pin(config, task))
        patience = RetryPolicy(attempts=_NO_LIMIT, deadline=timedelta(seconds=config.deadline_seconds))
        self._client = RewardClient(config.url, api_key=os.environ.get(API_KEY), retries=patience)
        self._turns = BoundedSemaphore(num_threads)
        self._closed = Event()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections; what is under way ends unheard, and nobody waits for it."""
        self._closed.set()
        self._client.close()

    def post(self, rollout: Rollout, *, step: int) -> Future[RewardResult]:
        """Ask for the rewards of a micro-batch; returns at once."""
        num_groups = len(rollout.examples)
        images_PG3HW = rollout.images_B3HW.reshape(num_groups, -1, *rollout.images_B3HW.shape[1:])
        groups = [
            candidate_group(example, tuple(images), id_=group_id)
            for group_id, example, images in zip(rollout.group_ids, rollout.examples, images_PG3HW, strict=True)
        ]
        return self.post_groups(groups, step=step)

    def post_groups(self, groups: Sequence[CandidateGroup], *, step: int) -> Future[RewardResult]:
        """Ask for the rewards of any groups; returns at once."""
        future: Future[RewardResult] = Future()
        # A daemon, as no pool has them: a service that hangs must not keep a run from ending.
        Thread(target=self._fulfil, args=(future, tuple(groups), step), name="rewards", daemon=True).start()
        return future

    def probe(self, example: Example, candidates: Sequence[Tensor]) -> GroupResult:
        """Have one group judged beside all steps: that it was not is an answer here, whatever the budget of a step.

        Raises `RewardsUnavailable` when the service gave no answer, or another rubric or judge did.
        """
        group = candidate_group(example, candidates, id_="probe")
        try:
            (result,) = self._checked(self._ask((group,), 0)).results
        except RewardClientError as error:
            raise self._gave_nothing(error) from error
        return result

    def collect(self, pending: Sequence[Future[RewardResult]], *, may_tie: bool = False) -> StepRewards:
        """Wait for all posted micro-batches of a step, each process for its own share of them.

        Raises `RewardsUnavailable` on all processes when any of them got no answer, the rubric or judge is no longer
        the pinned one, or more groups failed or tied than the budgets allow. There is no budget for ties where groups
        `may_tie`, as a fresh adapter does with the base.
        """
        start = time.perf_counter()
        own = self._runtime.together(lambda: [self._answer(future) for future in pending])
        answers = self._runtime.gather_shares(own)
        waited = time.perf_counter() - start
        results = tuple(result for answer in answers for result in answer.results)
        self._check_budgets(results, may_tie=may_tie)
        return StepRewards(
            rewards_PG=torch.cat([answer.rewards_tensor() for answer in answers]),
            num_judged=sum(result.status is not Status.FAILED for result in results),
            results=results,
            judge_calls=sum(answer.response.usage.judge_calls for answer in answers),
            wait_seconds=waited,
        )

    def _fulfil(self, future: Future[RewardResult], groups: tuple[CandidateGroup, ...], step: int) -> None:
        with self._turns:
            try:
                future.set_result(self._ask_patiently(groups, step))
            except BaseException as error:  # noqa: BLE001 - raised where the future is asked
                future.set_exception(error)

    def _ask_patiently(self, groups: tuple[CandidateGroup, ...], step: int) -> RewardResult:
        """Ask until the service and its judge are there, or `max_wait_seconds` are over."""
        patient = stamina.RetryingCaller(
            attempts=None if self._config.max_wait_seconds > 0 else 1,
            timeout=self._config.max_wait_seconds or None,
            wait_initial=_FIRST_PAUSE,
            wait_jitter=_FIRST_PAUSE,
            wait_max=_LONGEST_PAUSE,
        )

        def ask() -> RewardResult:
            answer = self._ask(groups, step)
            if self._is_for_lack_of_a_judge(answer):
                raise _JudgeAwayError(answer)
            return answer

        try:
            return patient(self._may_pass, ask)
        except _JudgeAwayError as error:
            return error.answer  # its failed groups say why

    def _may_pass(self, error: Exception) -> bool:
        return isinstance(error, ServiceUnavailable | _JudgeAwayError) and not self._closed.is_set()

    def _is_for_lack_of_a_judge(self, answer: RewardResult) -> bool:
        """Whether more groups failed than may, for reasons that pass; what was judged is cached by the service."""
        errors = [result.error for result in answer.results if result.error is not None]
        passing = sum(error.retryable for error in errors)
        return passing > self._config.max_failed_fraction * len(answer.results)

    def _ask(self, groups: tuple[CandidateGroup, ...], step: int) -> RewardResult:
        return self._client.reward(
            groups,
            rubric=self.pinned.rubric,
            mode=self.pinned.mode,
            reward=self._scheme(num_candidates=max(len(group.candidates) for group in groups)),
            tie_margin=self._config.tie_margin,
            tie_score=self._config.tie_score,
            run=Run(id=self._run_id, step=step, rank=self._runtime.rank),
            deadline_seconds=self._config.deadline_seconds,
        )

    def _scheme(self, *, num_candidates: int) -> RewardScheme:
        """How these groups are rewarded: what the recipe says, or what suits how they are judged and their size."""
        config = self._config
        compared = Scheme.BINARY if num_candidates == 2 else Scheme.RANK
        usual = Scheme.SCORE if self.pinned.mode is Mode.POINTWISE else compared
        return RewardScheme(scheme=config.scheme or usual, preferred=config.preferred, dispreferred=config.dispreferred)

    def _answer(self, future: Future[RewardResult]) -> RewardResult:
        try:
            return self._checked(future.result())
        except RewardClientError as error:
            raise self._gave_nothing(error) from error

    def _checked(self, answer: RewardResult) -> RewardResult:
        pinned, response = self.pinned, answer.response
        if response.rubric.digest != pinned.rubric.digest:
            raise RewardsUnavailable(
                f"the rubric changed under the run: {response.rubric.reference} is not the pinned one any more"
            )
        if response.judge.fingerprint != pinned.judge.fingerprint:
            raise RewardsUnavailable(
                f"the judge changed under the run: was {pinned.judge.model} ({pinned.judge.fingerprint[:19]}), "
                f"is {response.judge.model} ({response.judge.fingerprint[:19]})"
            )
        return answer

    def _gave_nothing(self, error: RewardClientError) -> RewardsUnavailable:
        return RewardsUnavailable(f"the reward service at {self._config.url} gave no rewards: {error}")

    def _check_budgets(self, results: Sequence[GroupResult], *, may_tie: bool) -> None:
        errors = [result.error for result in results if result.status is Status.FAILED and result.error is not None]
        if len(errors) > self._config.max_failed_fraction * len(results):
            raise RewardsUnavailable(
                f"{len(errors)} of {len(results)} groups were not judged "
                f"(reward.max_failed_fraction = {self._config.max_failed_fraction}); the last reason: "
                f"{errors[-1].type}: {errors[-1].detail}"
            )
        tied = sum(result.status is Status.TIED for result in results)
        if not may_tie and tied > self._config.max_tied_fraction * len(results):
            raise RewardsUnavailable(
                f"{tied} of {len(results)} groups are tied (reward.max_tied_fraction = "
                f"{self._config.max_tied_fraction}): the judge does not tell the candidates apart"
            )


class _JudgeAwayError(Exception):
    """The service answered, its judge did not."""

    def __init__(self, answer: RewardResult) -> None:
        reasons = [result.error for result in answer.results if result.error is not None]
        super().__init__(f"the judge is away ({reasons[-1].type}: {reasons[-1].detail})")
        self.answer = answer


def candidate_group(example: Example, candidates: Sequence[Tensor], *, id_: str) -> CandidateGroup:
    """What is asked about `candidates` (each [3, H, W]): for edits, beside the picture before."""
    source = open_source(example.sources[0]) if example.sources else None
    return CandidateGroup(example.prompt, tuple(candidates), source=source, id=id_)


def _pin(config: RewardConfig, task: Task | None) -> Pinned:
    try:
        with RewardClient(config.url, api_key=os.environ.get(API_KEY)) as client:
            readiness, rubric = client.readiness(), client.resolve_rubric(config.rubric, task=task or Task.T2I)
            content = _content(rubric, client)
    except (RewardClientError, ValueError) as error:  # the client's word for what is no URL, or no key
        raise ConfigError(f"reward.url {config.url}, rubric {config.rubric!r}: {error}") from error
    if readiness.judge is None:
        raise ConfigError(f"the reward service at {config.url} has no judge: {readiness.parts.get('judge')}")
    if readiness.pixel_judge and not config.allow_pixel_judge:
        raise ConfigError(
            "the reward service judges with its built-in pixel judge, which is not a preference model; point it at "
            "a vision-language model (ARR_JUDGE_URLS), or set reward.allow_pixel_judge = true"
        )
    if content is not None and task not in (None, content.task):
        raise ConfigError(f"reward.rubric {rubric.reference} is for the task {content.task}, and the model's is {task}")
    own_mode = content.mode if content else Mode.PAIRWISE  # without rubrics there are only pairs to compare
    return Pinned(rubric=rubric, judge=readiness.judge, mode=config.mode or own_mode)


def _content(rubric: RubricIdentity, client: RewardClient) -> RubricContent | None:
    """What the set says; none where there are no rubrics."""
    if rubric.name is None or rubric.version is None:
        return None
    return client.get_rubric(rubric.name, rubric.version).content
