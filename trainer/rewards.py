"""Rewards over HTTP: pin who judges, post candidates while the next are sampled, collect what came back.

The one rule: no number is ever made up here. A group without a reward is NaN and leaves the loss.
"""

import os
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from threading import BoundedSemaphore, Thread
from types import TracebackType
from typing import Self

import torch
from PIL import Image
from torch import Tensor

from reward_client import CandidateGroup, RewardClient, RewardClientError, RewardResult
from reward_client.retries import RetryPolicy
from shared_schemas.reward import GroupResult, JudgeIdentity, RewardScheme, Run, Scheme, Status
from shared_schemas.rubrics import Mode, RubricIdentity
from trainer.config import RewardConfig
from trainer.data import Example
from trainer.errors import ConfigError, RewardsUnavailable
from trainer.rollout import Rollout

API_KEY = "ARR_API_KEY"
"""Environment variable with the key for the reward service; recipes and logs never hold it."""

_NO_LIMIT = 10_000
"""Attempts per request; the deadline decides."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pinned:
    """Who judges this run, from its first step to its last."""

    rubric: RubricIdentity
    judge: JudgeIdentity
    mode: Mode
    """How: the recipe's word, or else the rubric set's own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRewards:
    """Rewards of one step, in the order of its rollouts."""

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

    def __init__(self, config: RewardConfig, *, run_id: str, num_threads: int) -> None:
        self._config = config
        self._run_id = run_id
        self.pinned = _pin(config)
        patience = RetryPolicy(attempts=_NO_LIMIT, deadline=timedelta(seconds=config.deadline_seconds))
        self._client = RewardClient(config.url, api_key=os.environ.get(API_KEY), retries=patience)
        self._turns = BoundedSemaphore(num_threads)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections; what is under way ends unheard, and nobody waits for it."""
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
        (result,) = self._answer(self.post_groups([group], step=0)).results
        return result

    def collect(self, pending: Sequence[Future[RewardResult]]) -> StepRewards:
        """Wait for all posted micro-batches of a step.

        Raises `RewardsUnavailable` when the service gave up, the rubric or judge is no longer the pinned one, or more
        groups failed than the budget allows.
        """
        start = time.perf_counter()
        answers = [self._answer(future) for future in pending]
        waited = time.perf_counter() - start
        results = tuple(result for answer in answers for result in answer.results)
        self._check_budget(results)
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
                future.set_result(self._reward(groups, step))
            except BaseException as error:  # noqa: BLE001 - raised where the future is asked
                future.set_exception(error)

    def _reward(self, groups: tuple[CandidateGroup, ...], step: int) -> RewardResult:
        return self._client.reward(
            groups,
            rubric=self.pinned.rubric,
            mode=self.pinned.mode,
            reward=self._scheme(num_candidates=max(len(group.candidates) for group in groups)),
            tie_margin=self._config.tie_margin,
            tie_score=self._config.tie_score,
            run=Run(id=self._run_id, step=step),
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
            answer = future.result()
        except RewardClientError as error:
            raise RewardsUnavailable(f"the reward service at {self._config.url} gave no rewards: {error}") from error
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

    def _check_budget(self, results: Sequence[GroupResult]) -> None:
        errors = [result.error for result in results if result.status is Status.FAILED and result.error is not None]
        if len(errors) > self._config.max_failed_fraction * len(results):
            raise RewardsUnavailable(
                f"{len(errors)} of {len(results)} groups were not judged "
                f"(reward.max_failed_fraction = {self._config.max_failed_fraction}); the last reason: "
                f"{errors[-1].type}: {errors[-1].detail}"
            )


def candidate_group(example: Example, candidates: Sequence[Tensor], *, id_: str) -> CandidateGroup:
    """What is asked about `candidates` (each [3, H, W]): for edits, beside the picture before."""
    source = Image.open(example.sources[0].path) if example.sources else None
    return CandidateGroup(example.prompt, tuple(candidates), source=source, id=id_)


def _pin(config: RewardConfig) -> Pinned:
    try:
        with RewardClient(config.url, api_key=os.environ.get(API_KEY)) as client:
            readiness, rubric = client.readiness(), client.resolve_rubric(config.rubric)
            mode = config.mode or _mode_of(rubric, client)
    except (RewardClientError, ValueError) as error:  # the client's word for what is no URL, or no key
        raise ConfigError(f"reward.url {config.url}, rubric {config.rubric!r}: {error}") from error
    if readiness.judge is None:
        raise ConfigError(f"the reward service at {config.url} has no judge: {readiness.parts.get('judge')}")
    if readiness.pixel_judge and not config.allow_pixel_judge:
        raise ConfigError(
            "the reward service judges with its built-in pixel judge, which is not a preference model; point it at "
            "a vision-language model (ARR_JUDGE_URLS), or set reward.allow_pixel_judge = true"
        )
    return Pinned(rubric=rubric, judge=readiness.judge, mode=mode)


def _mode_of(rubric: RubricIdentity, client: RewardClient) -> Mode:
    """The set's own mode; without rubrics there are only pairs to compare."""
    if rubric.name is None or rubric.version is None:
        return Mode.PAIRWISE
    return client.get_rubric(rubric.name, rubric.version).content.mode
