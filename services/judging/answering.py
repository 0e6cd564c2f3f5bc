"""From a prompt to an answer: cache, single flight, retries.

Owns asking one question once, whoever wants to know; the scheduler owns when and where it is asked. This is the only
place that retries: the openai client does not, and a caller that did would multiply the load of a judge in trouble.

The one rule: only answers are stored and shared. A failure belongs to those who waited for it.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from random import uniform
from typing import TypeAlias

import stamina

from services.judging.answers import Answer, LabelAnswer
from services.judging.backend import BackendError, OpenAIBackend
from services.judging.cache import VerdictCache
from services.judging.observer import AnswerSource, JudgeObserver
from services.judging.prompts import JudgePrompt
from services.judging.questions import JudgeFailure
from services.judging.scheduling.retry_budget import RetryBudget
from services.judging.scheduling.scheduler import Bundle, Scheduler
from services.judging.single_flight import SingleFlight
from shared_schemas.problems import FailureType


@dataclass(frozen=True, kw_only=True, slots=True)
class AskLimits:
    """How often, how long, and what counts as an answer."""

    attempts: int = 3
    """Attempts per call when a failure is retryable."""
    first_backoff: timedelta = timedelta(milliseconds=100)
    """Wait before the second attempt, jittered; doubles."""
    max_backoff: timedelta = timedelta(seconds=10)
    """Longest wait between attempts."""
    call_timeout: timedelta = timedelta(seconds=60)
    """Longest single call."""
    min_label_mass: float = 0.5
    """A smaller probability of the labels is `judge-off-topic`: the judge wanted to say something else."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """One question on its way."""

    key: str
    """Its judgement key."""
    prompt: JudgePrompt
    bundle: Bundle
    """What it travels with."""
    deadline: float
    """No attempt is begun that would have to wait beyond this time of the event loop, seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What came of it."""

    outcome: Answer | JudgeFailure
    source: AnswerSource = AnswerSource.JUDGE
    judge_calls: int = 0
    """Calls made for it, retries included."""
    queue_seconds: float = 0.0
    """Waiting for a slot, over all attempts."""
    seconds: float | None = None
    """The call that was answered; none when there was no such call of its own."""


Lookup: TypeAlias = Awaitable[dict[str, Answer]]


class Answering:
    """Asks over one scheduler and one cache."""

    def __init__(
        self, scheduler: Scheduler, *, cache: VerdictCache, limits: AskLimits, observer: JudgeObserver
    ) -> None:
        self._scheduler = scheduler
        self._cache = cache
        self._limits = limits
        self._observer = observer
        self._budget = RetryBudget()
        self._flights: SingleFlight[Reply] = SingleFlight()
        self._lookups: set[asyncio.Future[dict[str, Answer]]] = set()

    def look_up(self, keys: Sequence[str]) -> Lookup:
        """Read the cache for all keys at once; goes on for those who joined when its first caller leaves."""
        lookup = asyncio.ensure_future(self._cache.get_many(keys))
        self._lookups.add(lookup)
        lookup.add_done_callback(self._forget_lookup)
        return lookup

    async def ask_once(self, ask: Ask, lookup: Lookup) -> Reply:
        """Answer from the cache, or from the call in flight, or from a call of our own that is then stored.

        To be awaited in the turn of the loop in which the lookup starts: an answer stored too late for the lookup then
        still has a flight to join, so that nothing is asked twice. Raises what the cache raises.
        """
        leads = False

        async def look_up_or_ask() -> Reply:
            nonlocal leads
            leads = True
            if stored := (await asyncio.shield(lookup)).get(ask.key):
                return Reply(outcome=stored, source=AnswerSource.CACHE)
            reply = await self._call(ask)
            if isinstance(reply.outcome, JudgeFailure):
                return reply
            return replace(reply, outcome=await self._cache.put(ask.key, reply.outcome))

        reply = await self._flights.run(ask.key, look_up_or_ask)
        if not leads and isinstance(reply.outcome, JudgeFailure) and reply.outcome.type.is_retryable:
            reply = await self._flights.run(ask.key, look_up_or_ask)  # the other caller had less time than we have
        if not leads and reply.source is AnswerSource.JUDGE:
            reply = Reply(outcome=reply.outcome, source=AnswerSource.JOINED)
        return self._checked(reply)

    async def ask_again(self, ask: Ask) -> Reply:
        """Ask the judge itself: nothing is read, stored or shared."""
        return self._checked(await self._call(ask))

    async def _call(self, ask: Ask) -> Reply:
        loop, limits = asyncio.get_running_loop(), self._limits
        num_calls, queued, asked_at = 0, 0.0, 0.0

        async def call(backend: OpenAIBackend) -> Answer:
            nonlocal num_calls, queued, asked_at
            asked_at = loop.time()
            queued += asked_at - waiting_since
            num_calls += 1
            if num_calls == 1:
                self._budget.on_call()
            return await backend.ask(ask.prompt, within=limits.call_timeout, priority=ask.bundle.caller.call_class)

        try:
            async for attempt in stamina.retry_context(
                on=lambda error: self._backoff(error, attempt_number=num_calls, deadline=ask.deadline),
                attempts=limits.attempts,
                timeout=None,
            ):
                with attempt:
                    waiting_since = loop.time()
                    answer = await self._scheduler.run(ask.bundle, call)
        except BackendError as error:
            failure = JudgeFailure(type=error.type, detail=error.detail)
            return Reply(outcome=failure, judge_calls=num_calls, queue_seconds=queued)
        self._observer.tokens_spent(prompt=answer.prompt_tokens, completion=answer.completion_tokens)
        outcome = on_topic(answer, limits.min_label_mass)  # already here: what is off topic must not be stored
        return Reply(outcome=outcome, judge_calls=num_calls, queue_seconds=queued, seconds=loop.time() - asked_at)

    def _backoff(self, error: Exception, *, attempt_number: int, deadline: float) -> bool | float:
        """Whether to try again, and after how many seconds.

        A call whose replica broke the connection off is tried again at once where another is left. One that was told no
        has to be paid for from the retry budget: a judge in trouble gets little more than it would anyway.
        """
        if not isinstance(error, BackendError) or not error.type.is_retryable or attempt_number == 0:
            return False
        was_told = error.status is not None or error.type is FailureType.JUDGE_TIMEOUT
        if was_told and not self._budget.take():
            return False
        longest = min(self._limits.first_backoff * 2 ** (attempt_number - 1), self._limits.max_backoff)
        seconds = uniform(0.5, 1.0) * longest.total_seconds()
        if error.retry_after_seconds is not None:
            seconds += min(error.retry_after_seconds, self._limits.max_backoff.total_seconds())
        return seconds if asyncio.get_running_loop().time() + seconds < deadline else False

    def _checked(self, reply: Reply) -> Reply:
        """Apply the label mass to answers from anywhere, as the limit may have moved since one was stored."""
        reply = replace(reply, outcome=on_topic(reply.outcome, self._limits.min_label_mass))
        if not isinstance(reply.outcome, JudgeFailure):
            label_mass = reply.outcome.label_mass if isinstance(reply.outcome, LabelAnswer) else None
            self._observer.answered(reply.source, label_mass=label_mass)
        return reply

    def _forget_lookup(self, lookup: "asyncio.Future[dict[str, Answer]]") -> None:
        self._lookups.discard(lookup)
        if not lookup.cancelled():
            lookup.exception()  # it raises where it is awaited; where nobody awaits it any more, nobody need know


def on_topic(outcome: Answer | JudgeFailure, min_label_mass: float) -> Answer | JudgeFailure:
    """Turn an answer that hardly considered the labels into a failure."""
    if not isinstance(outcome, LabelAnswer) or outcome.label_mass >= min_label_mass:
        return outcome
    detail = f"the judge gave the labels a probability of {outcome.label_mass:.2g}; at least {min_label_mass:g} counts"
    return JudgeFailure(type=FailureType.JUDGE_OFF_TOPIC, detail=detail)
