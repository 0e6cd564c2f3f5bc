"""Fair queue and window together, before a server with a limit, in virtual time."""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from random import Random

import pytest

from services.judging.callers import Caller
from services.judging.scheduling.fair_queue import FairQueue
from services.judging.scheduling.window import Window

CALL_SECONDS = 0.1
REFUSAL_SECONDS = 0.005


@dataclass(eq=False, kw_only=True, slots=True)
class Batch:
    """Jobs of one caller, who sends the same again when all are answered: a trainer's step."""

    caller: Caller
    num_jobs: int
    cost: int
    """Calls of one job, which are sent together."""
    num_left: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class Job:
    batch: Batch


class Simulation:
    """A server that works on `capacity` calls at once and refuses more, behind one queue and one window."""

    def __init__(self, *, capacity: int, initial_window: int) -> None:
        self.capacity = capacity
        self.served: Counter[Caller] = Counter()
        """Calls answered."""
        self.num_sent = 0
        self.limits: list[int] = []
        """The window after every event."""
        self._window = Window(initial=initial_window)
        self._queue: FairQueue[Job] = FairQueue()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._ticket = count()
        self._random = Random(1)
        self._now = 0.0
        self._in_flight = 0
        self._at_work = 0

    def add(self, batch: Batch) -> None:
        batch.num_left = batch.num_jobs
        for _ in range(batch.num_jobs):
            self._queue.push(Job(batch), caller=batch.caller, cost=batch.cost)

    def run(self, *, seconds: float) -> None:
        """Play `seconds` more; what was counted before is forgotten."""
        self.served.clear()
        self.limits.clear()
        self.num_sent = 0
        end = self._now + seconds
        self._dispatch()
        while self._events[0][0] < end:
            self._now, _, happen = heappop(self._events)
            happen()
            self._dispatch()
            self.limits.append(self._window.limit)
        self._now = end

    def _dispatch(self) -> None:
        while self._in_flight < self._window.limit and (job := self._queue.pop()) is not None:
            self._send(job)

    def _send(self, job: Job) -> None:
        cost, sent_at = job.batch.cost, self._now
        self._in_flight += cost
        self.num_sent += cost
        was_full = self._in_flight >= self._window.limit
        if self._at_work + cost > self.capacity:
            self._after(REFUSAL_SECONDS, lambda: self._refused(job, sent_at))
            return
        self._at_work += cost
        seconds = CALL_SECONDS * self._random.uniform(0.8, 1.2)
        self._after(seconds, lambda: self._answered(job, sent_at, was_full))

    def _refused(self, job: Job, sent_at: float) -> None:
        self._in_flight -= job.batch.cost
        self._window.on_congestion(sent_at=sent_at, now=self._now)
        self._queue.push(job, caller=job.batch.caller, cost=job.batch.cost)

    def _answered(self, job: Job, sent_at: float, was_full: bool) -> None:
        batch = job.batch
        self._in_flight -= batch.cost
        self._at_work -= batch.cost
        self.served[batch.caller] += batch.cost
        for _ in range(batch.cost):
            self._window.on_success(sent_at=sent_at, was_full=was_full, now=self._now)
        batch.num_left -= 1
        if batch.num_left == 0:
            self.add(batch)

    def _after(self, seconds: float, happen: Callable[[], None]) -> None:
        heappush(self._events, (self._now + seconds, next(self._ticket), happen))


def jain(shares: Collection[int]) -> float:
    """Jain's fairness index: 1 when all are equal, 1/n when one has everything."""
    return sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))


def test_64_tenants_get_the_same_whatever_the_size_of_their_batches_and_jobs():
    simulation = Simulation(capacity=32, initial_window=16)
    tenants = [Caller(tenant=f"tenant {number}") for number in range(64)]
    for number, tenant in enumerate(tenants):
        simulation.add(Batch(caller=tenant, num_jobs=4 * 2 ** (number % 7), cost=1 + number % 4))
    simulation.run(seconds=20)
    simulation.run(seconds=120)
    assert jain([simulation.served[tenant] for tenant in tenants]) >= 0.95


@pytest.mark.parametrize(
    "callers",
    [
        [Caller(tenant=f"tenant {number}") for number in range(8)],
        [Caller(run=f"run {number}") for number in range(8)],
    ],
    ids=["tenants", "runs of one tenant"],
)
def test_one_that_asks_ten_times_as_much_leaves_the_others_their_share(callers):
    simulation = Simulation(capacity=32, initial_window=16)
    noisy, *others = callers
    simulation.add(Batch(caller=noisy, num_jobs=640, cost=2))
    for other in others:
        simulation.add(Batch(caller=other, num_jobs=64, cost=2))
    simulation.run(seconds=20)
    simulation.run(seconds=120)
    fair_share = simulation.served.total() / len(callers)
    assert min(simulation.served[other] for other in others) >= 0.9 * fair_share


def test_a_tenant_with_ten_runs_gets_no_more_than_one_with_a_single_run():
    simulation = Simulation(capacity=32, initial_window=16)
    for number in range(10):
        simulation.add(Batch(caller=Caller(tenant="many", run=str(number)), num_jobs=64, cost=2))
    single = Caller(tenant="single")
    simulation.add(Batch(caller=single, num_jobs=256, cost=2))  # so many that the pauses between its batches are short
    simulation.run(seconds=20)
    simulation.run(seconds=120)
    assert simulation.served[single] >= 0.95 * simulation.served.total() / 2


@pytest.mark.parametrize("initial_window", [1, 16, 256])
def test_the_window_settles_just_below_a_hard_limit_and_keeps_the_server_busy(initial_window):
    simulation = Simulation(capacity=40, initial_window=initial_window)
    simulation.add(Batch(caller=Caller(), num_jobs=1000, cost=1))
    simulation.run(seconds=20)
    simulation.run(seconds=120)
    assert min(simulation.limits) >= 34  # 0.85 · 41 = 34.85
    assert max(simulation.limits) <= 41
    assert simulation.served.total() >= 0.88 * 40 * 120 / CALL_SECONDS
    assert simulation.num_sent - simulation.served.total() <= 0.01 * simulation.num_sent


def test_the_window_follows_when_the_capacity_halves_and_when_it_returns():
    simulation = Simulation(capacity=40, initial_window=16)
    simulation.add(Batch(caller=Caller(), num_jobs=1000, cost=1))
    simulation.run(seconds=60)
    simulation.capacity = 20
    simulation.run(seconds=1)
    simulation.run(seconds=60)
    assert min(simulation.limits) >= 17  # 0.85 · 21 = 17.85
    assert max(simulation.limits) <= 21
    assert simulation.served.total() >= 0.88 * 20 * 60 / CALL_SECONDS
    simulation.capacity = 40
    simulation.run(seconds=10)
    simulation.run(seconds=60)
    assert min(simulation.limits) >= 34
    assert simulation.served.total() >= 0.88 * 40 * 60 / CALL_SECONDS
