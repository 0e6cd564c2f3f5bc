"""The model that writes: a conversation in, an answer of a given shape or a typed failure out.

Owns asking once, remembering, and asking again for what came out malformed. Refuses to know what is asked (`writing`
does) and how a server is made to write JSON (`backend` does).

The one rule: an answer is a pure function of what is asked. Whatever can change it is in the key under which it is
remembered, so that work which is begun again finds its answers and takes the same path.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Generic

from pydantic import ValidationError

from services.judging.backend import BackendError, BackendIdentity, OpenAIBackend
from services.judging.callers import Caller
from services.judging.calling import Call, Calling, CallLimits, Spent
from services.judging.chat_cache import ChatAnswer, ChatCache
from services.judging.chat_json import BaseModelT, JsonCompletion, validated
from services.judging.chat_keys import Sampling, chat_fingerprint, chat_key
from services.judging.chat_messages import ChatMessage
from services.judging.failures import CutOffError
from services.judging.fingerprint import fingerprint_of
from services.judging.manners import CANNOT
from services.judging.observer import JudgeObserver, NullObserver
from services.judging.questions import Cost, JudgeFailure
from services.judging.scheduling.replica_set import ReplicaSet
from services.judging.scheduling.scheduler import Bundle, Prefix
from services.judging.single_flight import SingleFlight
from shared_schemas.problems import FailureType

THE_WRITER = "the model that writes"
"""What it is called where it is not the judge."""

_OF_ITS_OWN = Prefix(digest="", num_chars=0, has_image=False)
"""A conversation is led by no other: reading is the smaller part of what it takes."""

_LATER_TEMPERATURE = 0.5
"""At least this for another try: at 0, a server writes the same malformed answer again."""

_MORE_ROOM = 4
"""Times the room, for another try at an answer that was cut off: some models think for longer than they write."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatLimits(CallLimits):
    """How often, and how long."""

    call_timeout: timedelta = timedelta(minutes=5)
    """Longest single call: two thousand tokens at a slow server's seven per second."""
    tries: int = 3
    """Times that a malformed answer is asked for, each with a seed of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatIdentity:
    """Who writes."""

    model: str
    """The model id it serves."""
    fingerprint: str
    """`sha256:…` of all that can change an answer besides the question."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Written(Generic[BaseModelT]):
    """What was written, and what it took."""

    value: BaseModelT
    """Validated."""
    cost: Cost
    """No calls when it was remembered, or written for somebody else at the same time."""
    cached: bool
    """Whether it was remembered."""


class ChatNotStartedError(RuntimeError):
    """Nobody who writes has been reached yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Request(Generic[BaseModelT]):
    """One conversation on its way."""

    messages: tuple[ChatMessage, ...]
    schema: type[BaseModelT]
    sampling: Sampling
    bundle: Bundle
    deadline: float
    """Time of the event loop, seconds."""
    spent: Spent = field(default_factory=Spent)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reply:
    """What came of it."""

    outcome: JsonCompletion[Any] | JudgeFailure
    cached: bool = False


class Chat:
    """Writes over one replica set, which may be a judge's: its calls take their turn among verdicts."""

    def __init__(
        self,
        replicas: ReplicaSet,
        *,
        cache: ChatCache,
        limits: ChatLimits | None = None,
        observer: JudgeObserver | None = None,
        is_the_judge: bool = True,
    ) -> None:
        """Starts and closes nothing: whoever made the replica set does. `is_the_judge` is for the words of failures."""
        self._replicas = replicas
        self._cache = cache
        self._is_the_judge = is_the_judge
        self._limits = limits or ChatLimits()
        self._observer = observer or NullObserver()
        self._calling = Calling(replicas.scheduler, limits=self._limits)
        self._flights: SingleFlight[_Reply] = SingleFlight()

    @property
    def identity(self) -> ChatIdentity:
        """Who writes now. Raises `ChatNotStartedError` while nobody has been reached."""
        server = self._replicas.judge
        if server is None:
            raise ChatNotStartedError("the model that writes has not been reached")
        return ChatIdentity(model=server.model, fingerprint=chat_fingerprint(server))

    def problem(self) -> str | None:
        """None when it can be asked, else what is wrong; costs no call."""
        problem = self._replicas.problem()
        return problem and self.told(problem)

    async def write(
        self,
        messages: Sequence[ChatMessage],
        *,
        schema: type[BaseModelT],
        seed: int,
        deadline: timedelta,
        caller: Caller,
        max_tokens: int = 2048,
        temperature: float = 0.0,
    ) -> Written[BaseModelT] | JudgeFailure:
        """Let it write an answer of the shape `schema`; the last message is the user's.

        Remembered within the caller's cache scope; equal requests at the same time share one call. Raises what the
        cache raises, and never for the model's fault. Cancelling it cancels the call unless others wait for it.
        """
        server = self._replicas.judge
        if server is None:
            return JudgeFailure(type=FailureType.JUDGE_UNAVAILABLE, detail=self.problem() or "not reached yet")
        until = asyncio.get_running_loop().time() + deadline.total_seconds()
        request = _Request(
            messages=tuple(messages),
            schema=schema,
            sampling=Sampling(seed=seed, temperature=temperature, max_tokens=max_tokens),
            bundle=_bundle(caller, server),
            deadline=until,
        )
        timer = asyncio.timeout_at(until)
        try:
            async with timer:
                outcome, cached = await self._once(_key(request, server), request)
        except TimeoutError:
            if not timer.expired():
                raise  # the cache's own
            detail = f"nothing was written within the deadline of {deadline.total_seconds():g} s"
            return JudgeFailure(type=FailureType.JUDGE_TIMEOUT, detail=detail, cost=_cost(request.spent))
        if isinstance(outcome, JudgeFailure):
            return replace(outcome, cost=_cost(request.spent))
        return Written(value=outcome.value, cost=_cost(request.spent, outcome, cached=cached), cached=cached)

    async def _once(
        self, key: str, request: _Request[BaseModelT]
    ) -> tuple[JsonCompletion[BaseModelT] | JudgeFailure, bool]:
        """The answer of the cache, of the call in flight, or of calls of our own; and whether it is the first of these.

        Equal keys have equal schemas, so a call in flight has an answer of this shape.
        """
        leads = False

        async def look_up_or_write() -> _Reply:
            nonlocal leads
            leads = True
            if (stored := _read(await self._cache.get(key), request.schema)) is not None:
                return _Reply(outcome=stored, cached=True)
            said = await self._write(request)
            if isinstance(said, JudgeFailure):
                return _Reply(outcome=said)
            kept = await self._cache.put(key, _to_keep(said))
            return _Reply(outcome=_read(kept, request.schema) or said)

        reply = await self._flights.run(key, look_up_or_write)
        if not leads and isinstance(reply.outcome, JudgeFailure) and reply.outcome.type.is_retryable:
            reply = await self._flights.run(key, look_up_or_write)  # the other caller had less time than we have
        return reply.outcome, reply.cached

    async def _write(self, request: _Request[BaseModelT]) -> JsonCompletion[BaseModelT] | JudgeFailure:
        """Ask, and ask again with another seed while the answer is malformed; with more room if it was cut off."""
        room, failure = request.sampling.max_tokens, None
        for number in range(self._limits.tries):
            sampling = replace(_sampling_of_try(request.sampling, number), max_tokens=room)

            async def ask(backend: OpenAIBackend, sampling: Sampling = sampling) -> JsonCompletion[BaseModelT]:
                return await backend.complete_json(
                    request.messages,
                    schema=request.schema,
                    within=self._limits.call_timeout,
                    priority=request.bundle.caller.call_class,
                    max_tokens=sampling.max_tokens,
                    temperature=sampling.temperature,
                    seed=sampling.seed,
                )

            call = Call(ask=ask, bundle=request.bundle, deadline=request.deadline)
            try:
                said = await self._calling.make(call, spent=request.spent)
            except BackendError as error:
                if failure is not None and room > request.sampling.max_tokens and error.status in CANNOT:
                    return failure  # there is no more room
                failure = JudgeFailure(type=error.type, detail=self.told(error.detail))
                if error.type is not FailureType.JUDGE_MALFORMED:
                    return failure
                if isinstance(error, CutOffError):
                    room *= _MORE_ROOM
                continue
            self._observer.tokens_spent(prompt=said.prompt_tokens, completion=said.completion_tokens)
            return said
        assert failure is not None
        return failure

    def told(self, detail: str) -> str:
        """What backends say of a judge, said of this model."""
        return detail if self._is_the_judge else detail.replace("the judge", THE_WRITER)


def _bundle(caller: Caller, server: BackendIdentity) -> Bundle:
    return Bundle(caller=caller, fingerprint=fingerprint_of(server), at_once=1, prefix=_OF_ITS_OWN, writes=True)


def _key(request: _Request[Any], server: BackendIdentity) -> str:
    return chat_key(
        chat_fingerprint(server),
        request.messages,
        schema=request.schema,
        sampling=request.sampling,
        scope=request.bundle.caller.cache_scope,
    )


def _sampling_of_try(first: Sampling, number: int) -> Sampling:
    """The sampling asked for, then others that follow from it."""
    if number == 0:
        return first
    digest = hashlib.sha256(f"{first.seed}/{number}".encode()).digest()
    seed = int.from_bytes(digest[:4]) >> 1  # every server takes a positive 32-bit integer
    return replace(first, seed=seed, temperature=max(first.temperature, _LATER_TEMPERATURE))


def _to_keep(said: JsonCompletion[BaseModelT]) -> ChatAnswer:
    text = said.value.model_dump_json(by_alias=True, round_trip=True)
    return ChatAnswer(text=text, prompt_tokens=said.prompt_tokens, completion_tokens=said.completion_tokens)


def _read(stored: ChatAnswer | None, schema: type[BaseModelT]) -> JsonCompletion[BaseModelT] | None:
    """What is remembered, unless a newer version of us would not take it from a server either."""
    if stored is None:
        return None
    try:
        value = validated(stored.text, schema)
    except ValidationError:
        return None
    return JsonCompletion(value=value, prompt_tokens=stored.prompt_tokens, completion_tokens=stored.completion_tokens)


def _cost(spent: Spent, said: JsonCompletion[Any] | None = None, *, cached: bool = False) -> Cost:
    """What it took us: nothing where another's call was answered, or the cache."""
    ours = said if spent.num_calls else None
    return Cost(
        judge_calls=spent.num_calls,
        cached_answers=int(cached),
        prompt_tokens=ours.prompt_tokens if ours else 0,
        completion_tokens=ours.completion_tokens if ours else 0,
        queue_seconds=spent.queue_seconds,
    )
