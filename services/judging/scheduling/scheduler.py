"""The scheduler: who may call which replica, and when.

Owns the queue, routing and the slots of every replica. Refuses to retry (`answering` does), to cache, and to know what
a call says. The policies are objects of their own, without clock or loop: fair sharing (`fair_queue`), how much a
replica is given (`window`), whether it is trusted (`breaker`), which prefixes it has read (`prefixes`).

The one rule: a slot is given to one call and comes back, however the call ends.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from services.judging.backend import BackendError, OpenAIBackend
from services.judging.callers import Caller
from services.judging.observer import JudgeObserver
from services.judging.scheduling.estimate import seconds_until_done
from services.judging.scheduling.fair_queue import FairQueue
from services.judging.scheduling.prefixes import PrefixState, worth_leading
from services.judging.scheduling.replica import Replica
from shared_schemas.problems import FailureType

T = TypeVar("T")

_ANOTHER_JUDGE = "the judge has become another one; ask again"

_CALLS_PER_TURN = 8
"""Calls that begin in one turn of the event loop: making a request takes about a millisecond of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prefix:
    """What several calls begin with, so that a replica that has read it once reads it no more."""

    digest: str
    num_chars: int
    has_image: bool


@dataclass(eq=False, kw_only=True, slots=True)
class Bundle:
    """Calls that travel together: both orders of a pair, or all criteria of an image."""

    caller: Caller
    fingerprint: str
    """The judge that is asked: a replica that has become another one gets none of it."""
    at_once: int
    """Calls that are never parted: 2 for a pair, 1 for criteria, where the first may go ahead of the rest."""
    prefix: Prefix
    writes: bool = False
    """Whether its calls take as long as there is to write, so that they say nothing about how fast verdicts come."""
    replica: Replica | None = None
    """Where it went; what is left of it follows while that replica is there."""
    avoid: Replica | None = None
    """Where a call of it failed last; another one is tried first."""
    waiting: "list[asyncio.Future[Replica]]" = field(default_factory=list)
    is_gathering: bool = False
    """Whether its calls are still coming in; they are queued together in the next turn of the loop."""
    num_queued: int = 0
    """Calls that it stands in the queue for."""


class Scheduler:
    """Gives calls to replicas: fairly over callers, no more to a replica than it can take."""

    def __init__(self, replicas: Sequence[Replica], *, observer: JudgeObserver) -> None:
        self._replicas = replicas
        self._observer = observer
        self._queue: FairQueue[Bundle] = FairQueue()
        self._queued_by_prefix: Counter[str] = Counter()
        self._judge: str | None = None
        self._free: list[Replica] = []  # while slots are given out: those with some that nobody waits for
        self._wake_up: asyncio.TimerHandle | None = None
        self._will_dispatch = False
        self._num_begun = 0  # calls, in this turn of the loop

    @property
    def num_queued_calls(self) -> int:
        """Calls that wait for a slot."""
        return self._queue.cost

    def seconds_until_done(self, caller: Caller, num_calls: int, *, on_the_way: int = 0) -> float:
        """How long `num_calls` new calls of this caller would take from now; 0 while that is not known.

        `on_the_way` calls that are not queued yet will be served before them.
        """
        now = asyncio.get_running_loop().time()
        available = [replica for replica in self._replicas if replica.is_available(now)]
        window = sum(replica.window.limit for replica in available)
        means = [replica.call_seconds.mean for replica in available if replica.call_seconds.mean is not None]
        if not window or not means:
            return 0.0
        ahead = self._queue.work_ahead(caller, num_calls) + on_the_way
        return seconds_until_done(work_ahead=ahead, window=window, call_seconds=sum(means) / len(means))

    async def run(self, bundle: Bundle, call: Callable[[OpenAIBackend], Awaitable[T]]) -> T:
        """Make one call of `bundle` on the replica whose turn it is. Raises `BackendError`."""
        replica = await self._slot(bundle)
        now = asyncio.get_running_loop().time
        sent_at, was_full = now(), replica.room < bundle.at_once
        has_answered = False
        try:
            result = await call(replica.backend)
            has_answered = True
        except BackendError as error:
            bundle.avoid = replica
            replica.failed(error, sent_at=sent_at, was_full=was_full, now=now(), writes=bundle.writes)
            self._observer.call_ended(replica=replica.name, seconds=now() - sent_at, failure=error.type)
            raise
        except asyncio.CancelledError:
            if not bundle.writes:
                usual = min((each.call_seconds.mean for each in self._replicas if each.call_seconds.mean), default=1.0)
                replica.left(sent_at=sent_at, usual_seconds=usual, now=now())
            raise
        finally:
            replica.prefixes.finish(bundle.prefix.digest, ok=has_answered)
            replica.end(writes=bundle.writes)
            self._queue.advance(bundle)  # what followed a leader goes while the prefix is still remembered
            self.dispatch()
        replica.succeeded(sent_at=sent_at, was_full=was_full, now=now(), writes=bundle.writes)
        self._observer.call_ended(replica=replica.name, seconds=now() - sent_at, failure=None)
        if replica.fingerprint != bundle.fingerprint:  # nobody knows which of both has answered
            raise BackendError(FailureType.JUDGE_UNAVAILABLE, _ANOTHER_JUDGE)
        return result

    def dispatch(self) -> None:
        """Give out every slot that is free, in fair order; what would make this turn of the loop long, in the next."""
        now = asyncio.get_running_loop().time()
        self._free = [replica for replica in self._replicas if replica.is_available(now) and replica.room > 0]
        while (
            self._free
            and self._num_begun < _CALLS_PER_TURN
            and (bundle := self._queue.pop(self._has_place)) is not None
        ):
            self._num_begun += self._send(bundle)
            self._free = [replica for replica in self._free if replica.room > 0]
        if self._num_begun:
            self._dispatch_soon()
        self._arrange_wake_up()

    def _dispatch_soon(self) -> None:
        if not self._will_dispatch:
            self._will_dispatch = True
            asyncio.get_running_loop().call_soon(self._dispatch_in_new_turn)

    def _dispatch_in_new_turn(self) -> None:
        self._will_dispatch = False
        self._num_begun = 0
        self.dispatch()

    def give_up(self, detail: str) -> None:
        """Fail everything that waits with `judge-unavailable`."""
        for bundle in list(self._queue.items()):
            self._fail(bundle, detail)

    def follow(self, fingerprint: str) -> None:
        """This is the judge now: what waits for another fails with `judge-unavailable`, and so does what comes yet."""
        self._judge = fingerprint
        for bundle in list(self._queue.items()):
            if bundle.fingerprint != fingerprint:
                self._fail(bundle, _ANOTHER_JUDGE)

    async def _slot(self, bundle: Bundle) -> Replica:
        loop = asyncio.get_running_loop()
        slot: asyncio.Future[Replica] = loop.create_future()
        queued_at = loop.time()
        bundle.waiting.append(slot)
        if not bundle.is_gathering:
            bundle.is_gathering = True
            loop.call_soon(self._enqueue, bundle)  # by then the other calls of the bundle have come too
        try:
            replica = await slot
        except asyncio.CancelledError:
            self._give_back(bundle, slot)
            raise
        self._observer.call_dispatched(queue_seconds=loop.time() - queued_at)
        return replica

    def _enqueue(self, bundle: Bundle) -> None:
        bundle.is_gathering = False
        if self._judge not in {None, bundle.fingerprint}:
            self._fail(bundle, _ANOTHER_JUDGE)
            return
        self._leave_queue(bundle)
        self._push(bundle)
        self._dispatch_soon()  # by then all bundles of this turn are queued

    def _push(self, bundle: Bundle) -> None:
        if bundle.waiting:
            bundle.num_queued = len(bundle.waiting)
            self._queue.push(bundle, caller=bundle.caller, cost=bundle.num_queued)
            self._queued_by_prefix[bundle.prefix.digest] += bundle.num_queued

    def _fail(self, bundle: Bundle, detail: str) -> None:
        self._leave_queue(bundle)
        for slot in _live(bundle):
            slot.set_exception(BackendError(FailureType.JUDGE_UNAVAILABLE, detail))
        bundle.waiting.clear()

    def _leave_queue(self, bundle: Bundle) -> None:
        if self._queue.remove(bundle):
            self._left_queue(bundle)

    def _left_queue(self, bundle: Bundle) -> None:
        self._queued_by_prefix[bundle.prefix.digest] -= bundle.num_queued
        if self._queued_by_prefix[bundle.prefix.digest] == 0:
            del self._queued_by_prefix[bundle.prefix.digest]

    def _has_place(self, bundle: Bundle) -> bool:
        """Whether it can go now. If not, what is free is kept for it: single calls would never leave a pair room."""
        if not self._free:
            return False
        if self._route(bundle) is not None:
            return True
        kept = self._open_to(bundle)
        self._free = [replica for replica in self._free if replica not in kept]
        return False

    def _route(self, bundle: Bundle) -> Replica | None:
        """Where it goes now, if anywhere: the least work comes first, and where it failed comes last."""
        num_calls = min(bundle.at_once, len(bundle.waiting))
        able = [replica for replica in self._open_to(bundle) if replica.in_flight == 0 or replica.room >= num_calls]
        return min(
            able, key=lambda replica: (replica is bundle.avoid, replica.in_flight, replica.num_dispatched), default=None
        )

    def _open_to(self, bundle: Bundle) -> list[Replica]:
        """Where something is free for it: at its own replica alone, as long as that is there."""
        own = bundle.replica
        if own is not None and own is not bundle.avoid and _serves(own, bundle):
            serving = [own] if own in self._free else []
        else:
            serving = [replica for replica in self._free if _serves(replica, bundle)]
        if bundle.writes:
            return [replica for replica in serving if replica.has_room_to_write]
        return [
            replica for replica in serving if replica.prefixes.state(bundle.prefix.digest) is not PrefixState.WARMING
        ]

    def _send(self, bundle: Bundle) -> int:
        """Give the bundle's calls slots, as many as fit, or only those that lead a new prefix; returns how many."""
        replica = self._route(bundle)
        assert replica is not None, "only bundles that have a place are taken from the queue"
        self._left_queue(bundle)
        bundle.waiting = _live(bundle)
        if not bundle.waiting:
            return 0
        num_calls = min(len(bundle.waiting), max(replica.room, bundle.at_once))
        if self._leads(bundle, replica):
            num_calls = min(num_calls, bundle.at_once)
            replica.prefixes.begin(bundle.prefix.digest)
        bundle.replica = replica
        replica.begin(num_calls, writes=bundle.writes)
        for slot in bundle.waiting[:num_calls]:
            slot.set_result(replica)
        del bundle.waiting[:num_calls]
        self._push(bundle)
        return num_calls

    def _leads(self, bundle: Bundle, replica: Replica) -> bool:
        """Whether this is the first of many with a long prefix, which the others had better wait for."""
        if replica.prefixes.state(bundle.prefix.digest) is not PrefixState.COLD:
            return False
        queued = self._queued_by_prefix[bundle.prefix.digest] + len(bundle.waiting)
        prefix = bundle.prefix
        followers = queued - min(bundle.at_once, len(bundle.waiting))
        return worth_leading(prefix_chars=prefix.num_chars, num_followers=followers, has_image=prefix.has_image)

    def _give_back(self, bundle: Bundle, slot: "asyncio.Future[Replica]") -> None:
        """A caller left while it waited, or in the very turn in which it got its slot."""
        if slot in bundle.waiting:
            bundle.waiting.remove(slot)
            if self._queue.remove(bundle):
                self._left_queue(bundle)
                self._push(bundle)
        elif not slot.cancelled() and slot.exception() is None:
            slot.result().prefixes.finish(bundle.prefix.digest, ok=False)
            slot.result().end(writes=bundle.writes)
            self.dispatch()

    def _arrange_wake_up(self) -> None:
        """A replica that asked for a pause gets its next call when the pause is over, not when somebody comes by."""
        if self._wake_up is not None:
            self._wake_up.cancel()
            self._wake_up = None
        loop = asyncio.get_running_loop()
        pauses = [replica.paused_until for replica in self._replicas if replica.paused_until > loop.time()]
        if pauses and len(self._queue):
            self._wake_up = loop.call_at(min(pauses), self.dispatch)


def _serves(replica: Replica, bundle: Bundle) -> bool:
    return replica.fingerprint == bundle.fingerprint and replica.is_available(asyncio.get_running_loop().time())


def _live(bundle: Bundle) -> "list[asyncio.Future[Replica]]":
    """Those that still wait: one that was cancelled in this turn of the loop has not left by itself yet."""
    return [slot for slot in bundle.waiting if not slot.done()]
