"""The judge's replicas, and which judge they are together.

Owns finding out who answers behind each URL, noticing when that changes, bringing lost replicas back, and reading their
load. Refuses to send judgements: `scheduler` does.

The one rule: replicas that differ from the judge in anything that can change an answer get no questions, because what
one of them says is remembered as what all of them would have said.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from services.judging.backend import BackendError, BackendIdentity, OpenAIBackend
from services.judging.fingerprint import fingerprint_of
from services.judging.observer import JudgeObserver
from services.judging.scheduling.replica import Replica, serves
from services.judging.scheduling.scheduler import Scheduler

_TICK = timedelta(milliseconds=250)
"""How often each replica is thought of; what is then done is rarer."""

_LOOK_EVERY = timedelta(seconds=5)
"""How often a replica is asked whether it still is who it was."""

_LOAD_EVERY = timedelta(seconds=1)
"""How often a busy replica's own queue is read."""

_LOOK_WITHIN = timedelta(seconds=2)

_DIFFERS = "it serves another judge than the other replicas"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicaState:
    """One replica at this moment, for probes and metrics."""

    name: str
    """`host:port`."""
    is_available: bool
    in_flight: int
    """Calls it is working on for us."""
    window: int
    """Calls it may be given at once."""
    problem: str | None
    """What is wrong with it, if anything is."""


class ReplicaSet:
    """All replicas of one judge. `start()` first, `aclose()` at the end."""

    def __init__(
        self,
        backends: Sequence[OpenAIBackend],
        *,
        max_window: int,
        probe_within: timedelta,
        patience: timedelta,
        observer: JudgeObserver,
        writing_share: float = 0.5,
    ) -> None:
        """`patience` is how long calls wait for a judge that is gone before they fail.

        Calls that write get at most `writing_share` of each window, so that verdicts need not wait for them.
        """
        self._replicas = [Replica(backend, max_window=max_window, writing_share=writing_share) for backend in backends]
        self._probe_within = probe_within
        self._patience = patience.total_seconds()
        self._judge: BackendIdentity | None = None
        self._last_seen = 0.0
        self._watches: list[asyncio.Task[None]] = []
        self.num_changes = 0
        """How often the judge has become another one."""
        self.scheduler = Scheduler(self._replicas, observer=observer)

    @property
    def judge(self) -> BackendIdentity | None:
        """Who judges; none before the first replica has been reached."""
        return self._judge

    @property
    def backend(self) -> OpenAIBackend:
        """A replica that is there, else the first: for questions about the judge itself."""
        available = [replica.backend for replica in self._replicas if self._is_the_judge(replica)]
        return available[0] if available else self._replicas[0].backend

    def states(self) -> list[ReplicaState]:
        """Every replica at this moment."""
        return [
            ReplicaState(
                name=replica.name,
                is_available=self._is_the_judge(replica),
                in_flight=replica.in_flight,
                window=replica.window.limit,
                problem=replica.problem,
            )
            for replica in self._replicas
        ]

    def problem(self) -> str | None:
        """None while a replica can be asked, or lost it so recently that calls still wait for it."""
        if self._judge is None:
            return self._replicas[0].problem
        if self._seconds_away() <= self._patience:
            return None
        return next((replica.problem for replica in self._replicas if replica.problem), "no replica answers")

    async def start(self) -> BackendIdentity:
        """Reach every replica at once; one that answers is enough. Raises the first one's `BackendError` otherwise."""
        await asyncio.gather(*(self._probe(replica) for replica in self._replicas))
        if self._judge is None:
            raise self._replicas[0].last_error or RuntimeError("a replica that did not answer has an error")
        if not self._watches:
            watches = (self._settle(), *(self._watch(replica) for replica in self._replicas))
            self._watches = [asyncio.create_task(watch) for watch in watches]
        return self._judge

    async def aclose(self) -> None:
        """Stop watching and close every connection."""
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        await asyncio.gather(*(replica.backend.aclose() for replica in self._replicas))

    async def check(self) -> str | None:
        """Look at every replica now, whatever the schedule says: None when one can be asked, else what is wrong."""
        found = await asyncio.gather(*(self._look(replica) for replica in self._replicas))
        if any(found):
            return None
        return next((replica.problem for replica in self._replicas if replica.problem), "no replica can be asked")

    async def _settle(self) -> None:
        """Beside the watches, as a look at a replica that hangs takes longer than calls may be kept waiting."""
        while True:
            await asyncio.sleep(_TICK.total_seconds())
            self._agree()

    async def _watch(self, replica: Replica) -> None:
        loop = asyncio.get_running_loop()
        looked_at = loaded_at = loop.time()
        while True:
            await asyncio.sleep(_TICK.total_seconds())
            now = loop.time()
            if replica.breaker.may_probe(now=now):
                await self._probe(replica)
                looked_at = loop.time()
            elif replica.breaker.is_closed and now - looked_at >= _LOOK_EVERY.total_seconds():
                await self._look(replica)
                looked_at = loop.time()
            elif replica.in_flight and now - loaded_at >= _LOAD_EVERY.total_seconds():
                await self._read_load(replica)
                loaded_at = loop.time()

    async def _probe(self, replica: Replica) -> None:
        """Find out who it is and how it can be asked; one that serves what it served is asked as before."""
        try:
            identity = replica.identity
            if identity is None or not serves(await replica.backend.identify(within=_LOOK_WITHIN), identity):
                replica.identity = None  # gets nothing until it is known who it is
                identity = await replica.backend.probe(within=self._probe_within)
            elif not replica.breaker.is_closed:
                await replica.backend.try_out(within=self._probe_within)
        except BackendError as error:
            replica.lost(error, asyncio.get_running_loop().time())
            return
        replica.identified(identity)
        self._agree()

    async def _look(self, replica: Replica) -> bool:
        """Is it still there, and still the same? Whether it can be asked now."""
        try:
            served = await replica.backend.identify(within=_LOOK_WITHIN)
        except BackendError as error:
            if error.is_passing:
                now = asyncio.get_running_loop().time()
                replica.failed(error, sent_at=now, was_full=False, now=now)
            return not error.is_passing and self._is_the_judge(replica)
        if replica.identity is None or not serves(served, replica.identity):
            replica.identity = None  # what it answers from here on is not the old judge's word
            await self._probe(replica)
        return self._is_the_judge(replica)

    async def _read_load(self, replica: Replica) -> None:
        try:
            load = await replica.backend.load(within=_LOOK_WITHIN)
        except BackendError:
            return  # a server that is really in trouble shows it in its calls
        if load is not None:
            now = asyncio.get_running_loop().time()
            replica.window.on_server_queue(running=load.running, waiting=load.waiting, now=now)

    def _agree(self) -> None:
        """Settle which judge the replicas are, and stop waiting for one that has been gone for too long."""
        there = [replica for replica in self._replicas if replica.breaker.is_closed and replica.identity is not None]
        if there and self._judge_is_lost():
            self._become(there[0])
        for replica in there:
            if replica.identity != self._judge:
                replica.problem = _DIFFERS
            elif replica.problem == _DIFFERS:
                replica.problem = None
        if self._judge is not None and self._seconds_away() > self._patience:
            self.scheduler.give_up(self.problem() or "no replica answers")
        self.scheduler.dispatch()

    def _judge_is_lost(self) -> bool:
        """No replica is the judge any more, or those that were have been away for too long."""
        if not any(replica.identity == self._judge for replica in self._replicas):
            return True
        return self._judge is None or self._seconds_away() > self._patience

    def _become(self, replica: Replica) -> None:
        before, self._judge = self._judge, replica.identity
        assert self._judge is not None, "a replica that is there has been identified"
        self.scheduler.follow(fingerprint_of(self._judge))
        if before is None or before == self._judge:
            return
        self.num_changes += 1
        _log.warning("the judge has changed", extra={"before": before.model, "now": replica.name})

    def _seconds_away(self) -> float:
        """How long no replica has been the judge; 0 while one is."""
        now = asyncio.get_running_loop().time()
        if any(self._is_the_judge(replica) for replica in self._replicas):
            self._last_seen = now
        return now - self._last_seen

    def _is_the_judge(self, replica: Replica) -> bool:
        return replica.breaker.is_closed and replica.identity is not None and replica.identity == self._judge
