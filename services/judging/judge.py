"""The judge: pairs of images in, verdicts or typed failures out.

Owns asking in both orders, bounded concurrency, the cache, single flight, retries and deadlines. Refuses to know about
rewards, ties and HTTP of our own service.

The one rule: a judge's fault never raises and never becomes a number; whatever is not answered by the deadline is
`judge-timeout`. Only answers are cached, failures never.
"""

import asyncio
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeAlias

import stamina

from services.judging.backend import BackendError, BackendIdentity, OpenAIBackend
from services.judging.cache import LabelAnswer, VerdictCache
from services.judging.images import JudgeImage
from services.judging.keys import judgement_key
from services.judging.prompts import TEMPLATE_VERSION, PairPrompt, pair_prompt
from services.judging.single_flight import SingleFlight
from services.judging.verdicts import Verdict, combine_orders
from shared_schemas.problems import FailureType
from shared_schemas.reward import JudgeIdentity
from shared_schemas.rubrics import RubricContent, json_digest

_CHECK_WITHIN = timedelta(seconds=2)


@dataclass(frozen=True, kw_only=True, slots=True)
class PairQuestion:
    """Which of two images is better for this prompt, by this rubric?"""

    prompt: str
    """The prompt, or the edit instruction."""
    first: JudgeImage
    """First candidate; a positive margin prefers it."""
    second: JudgeImage
    """Second candidate."""
    source: JudgeImage | None
    """The picture that was edited; given exactly when the rubric is for `edit`."""
    rubric: RubricContent
    """What to judge by; no criteria = the judge's own taste."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairAnswer:
    """The verdict on one pair and what it cost."""

    verdict: Verdict
    """Both orders together."""
    judge_calls: int
    """Calls made for it, retries included; 0 when the cache or somebody else's call answered."""
    cached_answers: int
    """Answers from the cache, 0 to 2."""
    prompt_tokens: int
    """Tokens the judge read for these calls."""
    completion_tokens: int
    """Tokens the judge wrote for them."""
    queue_seconds: float = 0.0
    """The longer wait of its two orders for a free slot."""

    @property
    def cached(self) -> bool:
        """Whether both orders came from the cache."""
        return self.cached_answers == 2


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeFailure:
    """Why there is no verdict."""

    type: FailureType
    """A stable slug that says whether asking again can help."""
    detail: str
    """In words, safe for clients."""
    judge_calls: int = 0
    """Calls made for both orders, as far as they are known to have ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeLimits:
    """How hard the judge may be pressed, and when its answer counts."""

    max_concurrent_calls: int = 32
    """Calls in flight at once."""
    attempts: int = 3
    """Attempts per call when a failure is retryable."""
    first_backoff: timedelta = timedelta(milliseconds=100)
    """Wait before the second attempt, with as much jitter again; doubles. A `Retry-After` takes its place."""
    max_backoff: timedelta = timedelta(seconds=10)
    """Longest wait between attempts, `Retry-After` included."""
    call_timeout: timedelta = timedelta(seconds=60)
    """Longest single call."""
    min_label_mass: float = 0.5
    """A smaller probability of the labels is `judge-off-topic`: the judge wanted to say something else."""


class JudgeNotStartedError(RuntimeError):
    """`start()` has not succeeded yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reply:
    """What came of asking in one order."""

    outcome: LabelAnswer | JudgeFailure
    from_cache: bool = False
    judge_calls: int = 0
    queue_seconds: float = 0.0


_Lookup: TypeAlias = Awaitable[dict[str, LabelAnswer]]


class Judge:
    """Compares pairs of images over one backend. `start()` first, `aclose()` at the end."""

    def __init__(self, backend: OpenAIBackend, *, cache: VerdictCache, limits: JudgeLimits | None = None) -> None:
        self._backend = backend
        self._cache = cache
        self._limits = limits or JudgeLimits()
        self._slots = asyncio.Semaphore(self._limits.max_concurrent_calls)
        self._flights: SingleFlight[_Reply] = SingleFlight()
        self._identity: JudgeIdentity | None = None

    @property
    def identity(self) -> JudgeIdentity:
        """Who judges. Raises `JudgeNotStartedError` before `start()` has succeeded."""
        if self._identity is None:
            raise JudgeNotStartedError("the judge has not been started")
        return self._identity

    async def start(self) -> JudgeIdentity:
        """Find out who judges and how to ask. Raises `BackendError`; may be called again after that."""
        found = await self._backend.probe(within=self._limits.call_timeout)
        self._identity = JudgeIdentity(model=found.model, fingerprint=_fingerprint(found))
        return self._identity

    async def check(self) -> str | None:
        """None when the judge can be asked, else what is wrong; costs no judgement."""
        if self._identity is None:
            return "the judge has not been started"
        try:
            await self._backend.check(within=_CHECK_WITHIN)
        except BackendError as error:
            return error.detail
        return None

    async def aclose(self) -> None:
        """Close the backend's connections."""
        await self._backend.aclose()

    async def compare(
        self, questions: Sequence[PairQuestion], *, deadline: timedelta, use_cache: bool = True
    ) -> list[PairAnswer | JudgeFailure]:
        """Answer every question, in the same order, both orders of each pair asked at the same time.

        `use_cache=False` neither reads nor writes stored answers and shares no call with others. Raises
        `JudgeNotStartedError`, `ValueError` for a question without or with an unwanted source image, and what the cache
        raises; never for the judge's fault. Cancelling it cancels the calls that nobody else waits for.
        """
        prompts = [prompt for question in questions for prompt in _both_orders(question)]
        keys = [judgement_key(self.identity.fingerprint, prompt) for prompt in prompts]
        if use_cache:
            # Every key joins its flight in the same turn of the loop in which the lookup starts: an answer stored too
            # late for the lookup then still has a flight to join, so that nothing is asked twice.
            lookup = asyncio.ensure_future(self._cache.get_many(keys))
            lookup.add_done_callback(_see_exception)
            calls = [self._shared_reply(key, prompt, lookup) for key, prompt in zip(keys, prompts, strict=True)]
        else:
            calls = [self._reply(prompt) for prompt in prompts]
        replies = await _replies_before(deadline, [asyncio.create_task(call) for call in calls])
        pairs = zip(replies[::2], replies[1::2], strict=True)
        return [_join(forward, backward, self._limits.min_label_mass) for forward, backward in pairs]

    async def _shared_reply(self, key: str, prompt: PairPrompt, lookup: _Lookup) -> _Reply:
        """Answer from the cache, or from the call in flight, or from a call of our own that is then stored."""
        leads = False

        async def look_up_or_ask() -> _Reply:
            nonlocal leads
            leads = True
            if stored := (await asyncio.shield(lookup)).get(key):
                return _Reply(outcome=stored, from_cache=True)
            reply = await self._reply(prompt)
            if isinstance(reply.outcome, JudgeFailure):
                return reply
            stored = await self._cache.put(key, reply.outcome)
            return replace(reply, outcome=stored)

        reply = await self._flights.run(key, look_up_or_ask)
        return reply if leads or reply.from_cache else _Reply(outcome=reply.outcome)

    async def _reply(self, prompt: PairPrompt) -> _Reply:
        """Ask the judge, with retries. Off-topic answers are failures here, so that they are never stored."""
        limits, num_calls, queue_seconds = self._limits, 0, 0.0
        try:
            async for attempt in stamina.retry_context(
                on=self._backoff,
                attempts=limits.attempts,
                timeout=None,
                wait_initial=limits.first_backoff,
                wait_jitter=limits.first_backoff,
                wait_max=limits.max_backoff,
            ):
                with attempt:
                    queued = time.perf_counter()
                    async with self._slots:
                        queue_seconds += time.perf_counter() - queued
                        num_calls += 1
                        answer = await self._backend.ask(prompt, within=limits.call_timeout)
        except BackendError as error:
            return _Reply(outcome=JudgeFailure(type=error.type, detail=error.detail), judge_calls=num_calls)
        outcome = _on_topic(answer, limits.min_label_mass)
        return _Reply(outcome=outcome, judge_calls=num_calls, queue_seconds=queue_seconds)

    def _backoff(self, error: Exception) -> bool | float:
        """Whether to try again, or after how many seconds when the judge says so."""
        if not isinstance(error, BackendError) or not error.type.is_retryable:
            return False
        if error.retry_after_seconds is None:
            return True
        return min(error.retry_after_seconds, self._limits.max_backoff.total_seconds())


def _fingerprint(backend: BackendIdentity) -> str:
    """Digest of all that can change an answer besides the question."""
    sampling = {"style": backend.style, "temperature": 0, "max_tokens": 1}
    return json_digest(
        {
            "model": backend.model,
            "server_version": backend.server_version,
            "template": TEMPLATE_VERSION,
            "sampling": sampling,
        }
    )


def _both_orders(question: PairQuestion) -> tuple[PairPrompt, PairPrompt]:
    prompt, first, second = question.prompt, question.first, question.second
    return (
        pair_prompt(prompt, first, second, source=question.source, rubric=question.rubric),
        pair_prompt(prompt, second, first, source=question.source, rubric=question.rubric),
    )


async def _replies_before(deadline: timedelta, tasks: Sequence[asyncio.Task[_Reply]]) -> list[_Reply]:
    """The result of every task, a timeout for those cut off by the deadline. Raises what a task raises."""
    if not tasks:
        return []
    try:
        await asyncio.wait(tasks, timeout=deadline.total_seconds(), return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    detail = f"not judged within the deadline of {deadline.total_seconds():g} s"
    late = _Reply(outcome=JudgeFailure(type=FailureType.JUDGE_TIMEOUT, detail=detail))
    return [late if task.cancelled() else task.result() for task in tasks]


def _see_exception(lookup: asyncio.Future[dict[str, LabelAnswer]]) -> None:
    """A failed lookup raises where it is awaited; where nobody awaits it any more, asyncio shall not complain."""
    if not lookup.cancelled():
        lookup.exception()


def _join(forward: _Reply, backward: _Reply, min_label_mass: float) -> PairAnswer | JudgeFailure:
    judge_calls = forward.judge_calls + backward.judge_calls
    x_first = _on_topic(forward.outcome, min_label_mass)
    y_first = _on_topic(backward.outcome, min_label_mass)
    if isinstance(x_first, JudgeFailure):
        return replace(x_first, judge_calls=judge_calls)
    if isinstance(y_first, JudgeFailure):
        return replace(y_first, judge_calls=judge_calls)
    paid = [answer for answer, reply in ((x_first, forward), (y_first, backward)) if reply.judge_calls]
    return PairAnswer(
        verdict=combine_orders(x_first.log_odds, y_first.log_odds, min(x_first.label_mass, y_first.label_mass)),
        judge_calls=judge_calls,
        cached_answers=sum(reply.from_cache for reply in (forward, backward)),
        prompt_tokens=sum(answer.prompt_tokens for answer in paid),
        completion_tokens=sum(answer.completion_tokens for answer in paid),
        queue_seconds=max(forward.queue_seconds, backward.queue_seconds),
    )


def _on_topic(outcome: LabelAnswer | JudgeFailure, min_label_mass: float) -> LabelAnswer | JudgeFailure:
    """Turn an answer that hardly considered the labels into a failure; also for stored ones, as the limit may move."""
    if isinstance(outcome, JudgeFailure) or outcome.label_mass >= min_label_mass:
        return outcome
    detail = f"the judge gave the labels a probability of {outcome.label_mass:.2g}; at least {min_label_mass:g} counts"
    return JudgeFailure(type=FailureType.JUDGE_OFF_TOPIC, detail=detail)
