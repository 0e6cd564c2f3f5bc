"""A check-up of a judge: who is behind every URL, how each can be asked, and how far the answers can be relied on.

Owns the examination: looking at every replica, and judging drawn pairs several times. What follows from the answers is
`reliability`; refuses to print.

The one rule: nothing is remembered and no answer is turned down. A judge that hardly considers the labels is measured
like any other, so that one learns by how much.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

from services.judging.answering import AskLimits
from services.judging.backend import BackendError, OpenAIBackend
from services.judging.cache import MemoryVerdictCache
from services.judging.drawings import drawn_pairs
from services.judging.fingerprint import fingerprint_of
from services.judging.judge import Judge, JudgeLimits
from services.judging.ladder import Capability
from services.judging.questions import JudgeFailure, PairAnswer, PairQuestion
from services.judging.reliability import Reliability, measure
from shared_schemas.problems import FailureType

_LOOK_WITHIN = timedelta(seconds=60)
"""Each call of a probe: a server's first one may compile a grammar or warm up a model."""

_JUDGE_WITHIN = timedelta(minutes=5)
"""All pairs once."""

OnJudged = Callable[[int, int], None]
"""Called with verdicts done and verdicts wanted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicaReport:
    """What was found behind one URL; None = could not be found out."""

    name: str
    """`host:port`."""
    problem: str | None
    """Why it cannot take part, in words."""
    model: str | None = None
    server_version: str | None = None
    revision: str | None = None
    fingerprint: str | None = None
    capability: Capability | None = None
    """What it can be asked for."""
    asked_with: str | None = None
    """The parameters it understood."""
    takes_priority: bool | None = None
    """Whether it serves rewards before evaluations and learning."""
    has_metrics: bool | None = None
    """Whether it tells how busy it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckUp:
    """What came of it."""

    replicas: tuple[ReplicaReport, ...]
    """In the order of the URLs."""
    reliability: Reliability


async def check_up(
    backends: Sequence[OpenAIBackend], *, num_pairs: int, num_repeats: int, max_window: int, on_judged: OnJudged
) -> CheckUp:
    """Examine the judge behind `backends` and close them; `num_pairs` drawn pairs are judged `num_repeats` times.

    No replica gets more than `max_window` calls at once. Raises `BackendError` when no replica can be asked, and when a
    pair is not judged.
    """
    try:
        replicas = await asyncio.gather(*(_look_at(backend) for backend in backends))
        there = [backend for backend, replica in zip(backends, replicas, strict=True) if replica.problem is None]
        if not there:
            raise _nobody_there(replicas)
        async with _judge_of(there, max_window=max_window) as judge:
            fingerprint = judge.identity.fingerprint
            answers = await _judge_repeatedly(judge, num_pairs, num_repeats, on_judged)
    finally:
        await asyncio.gather(*(backend.aclose() for backend in backends))
    found = tuple(_unless_another(replica, fingerprint) for replica in replicas)
    return CheckUp(replicas=found, reliability=measure(answers))


async def _look_at(backend: OpenAIBackend) -> ReplicaReport:
    try:
        identity = await backend.probe(within=_LOOK_WITHIN)
    except BackendError as error:
        return ReplicaReport(name=backend.name, problem=error.detail)
    try:
        has_metrics = await backend.load(within=_LOOK_WITHIN) is not None
    except BackendError:  # metrics that cannot be read are as good as none
        has_metrics = False
    return ReplicaReport(
        name=backend.name,
        problem=None,
        model=identity.model,
        server_version=identity.server_version,
        revision=identity.revision,
        fingerprint=fingerprint_of(identity),
        capability=backend.capability,
        asked_with=identity.style,
        takes_priority=backend.takes_priority,
        has_metrics=has_metrics,
    )


def _nobody_there(replicas: Sequence[ReplicaReport]) -> BackendError:
    """Every replica's reason; which kind of failure it is, only their words tell."""
    reasons = [f"{replica.name}: {replica.problem}" for replica in replicas]
    return BackendError(FailureType.JUDGE_UNAVAILABLE, "; ".join(reasons))


@asynccontextmanager
async def _judge_of(backends: Sequence[OpenAIBackend], *, max_window: int) -> AsyncIterator[Judge]:
    limits = JudgeLimits(max_window=max_window, ask=AskLimits(min_label_mass=0.0))
    judge = Judge(backends, cache=MemoryVerdictCache(max_entries=1), limits=limits)
    try:
        await judge.start()
        yield judge
    finally:
        await judge.aclose()


async def _judge_repeatedly(
    judge: Judge, num_pairs: int, num_repeats: int, on_judged: OnJudged
) -> list[list[PairAnswer]]:
    """`[pair][repeat]`; all pairs are under way together, as in a training step, and each repeat is a new batch."""
    pairs, num_done = drawn_pairs(num_pairs), 0

    async def judge_pair(pair: PairQuestion) -> PairAnswer | JudgeFailure:
        nonlocal num_done
        (answer,) = await judge.compare([pair], deadline=_JUDGE_WITHIN, use_cache=False)
        num_done += 1
        on_judged(num_done, num_pairs * num_repeats)
        return answer

    on_judged(0, num_pairs * num_repeats)
    repeats = [await _all_judged(judge_pair, pairs) for _ in range(num_repeats)]
    return [list(of_pair) for of_pair in zip(*repeats, strict=True)]


async def _all_judged(
    judge_pair: Callable[[PairQuestion], Awaitable[PairAnswer | JudgeFailure]], pairs: Sequence[PairQuestion]
) -> list[PairAnswer]:
    answers = []
    for answer in await asyncio.gather(*(judge_pair(pair) for pair in pairs)):
        if isinstance(answer, JudgeFailure):
            raise BackendError(answer.type, answer.detail)
        answers.append(answer)
    return answers


def _unless_another(replica: ReplicaReport, fingerprint: str) -> ReplicaReport:
    if replica.fingerprint in {None, fingerprint}:
        return replica
    return replace(replica, problem="it serves another judge than the other replicas")
