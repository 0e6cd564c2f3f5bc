"""From a prompt to an answer: cache, single flight, and the call itself.

Owns asking one question once, whoever wants to know. How often it is tried is up to `calling`, when and where to the
scheduler.

The one rule: only answers are stored and shared. A failure belongs to those who waited for it.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from services.judging.answers import Answer, LabelAnswer
from services.judging.backend import BackendError, OpenAIBackend
from services.judging.cache import VerdictCache
from services.judging.calling import Call, Calling, CallLimits, Spent
from services.judging.observer import AnswerSource, JudgeObserver
from services.judging.prompts import JudgePrompt
from services.judging.questions import JudgeFailure
from services.judging.scheduling.scheduler import Bundle, Scheduler
from services.judging.single_flight import SingleFlight
from shared_schemas.problems import FailureType


@dataclass(frozen=True, kw_only=True, slots=True)
class AskLimits(CallLimits):
    """How often, how long, and what counts as an answer."""

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
        self._calling = Calling(scheduler, limits=limits)
        self._cache = cache
        self._limits = limits
        self._observer = observer
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
        async def put(backend: OpenAIBackend) -> Answer:
            within, priority = self._limits.call_timeout, ask.bundle.caller.call_class
            return await backend.ask(ask.prompt, within=within, priority=priority)

        spent = Spent()
        try:
            answer = await self._calling.make(Call(ask=put, bundle=ask.bundle, deadline=ask.deadline), spent=spent)
        except BackendError as error:
            failure = JudgeFailure(type=error.type, detail=error.detail)
            return Reply(outcome=failure, judge_calls=spent.num_calls, queue_seconds=spent.queue_seconds)
        self._observer.tokens_spent(prompt=answer.prompt_tokens, completion=answer.completion_tokens)
        return Reply(
            outcome=on_topic(answer, self._limits.min_label_mass),  # already here: what is off topic must not be stored
            judge_calls=spent.num_calls,
            queue_seconds=spent.queue_seconds,
            seconds=spent.seconds,
        )

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
