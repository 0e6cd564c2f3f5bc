"""Refusing what cannot be done in time, before any work is spent on it.

Owns the decision and its `Retry-After`; how long work takes is estimated by the scheduler. The one rule: a request that
is let in is expected to be answered within its deadline; one that is not is told at once.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from enum import StrEnum

from services.judging.callers import Caller
from services.judging.judge import Judge
from services.reward_api.errors import Overloaded

_PREFER_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,6})(?:$|[,;\s])")

_HEADROOM = 0.7
"""Share of the deadline that queueing may fill: estimates are off, decoding takes its time too, and an answer after the
deadline is work wasted. At 0.9, one call in eight was (docs/benchmarks.md)."""

_NEWEST = 0.1
"""Weight of the newest request in what is usual."""

_NOTHING = 1e-6
"""Calls; what adding and taking away leaves of 0."""

_SHORTEST_RETRY = timedelta(seconds=1)
_LONGEST_RETRY = timedelta(seconds=60)


class Refusal(StrEnum):
    """Why a request was refused for load."""

    QUEUE_FULL = "queue-full"
    DEADLINE = "deadline"


class TooBusy(Overloaded):
    """A refusal that says which limit it was."""

    def __init__(self, detail: str, *, reason: Refusal, retry_after: timedelta) -> None:
        super().__init__(detail, retry_after=min(max(retry_after, _SHORTEST_RETRY), _LONGEST_RETRY))
        self.reason = reason


def preferred_wait(header: str | None) -> timedelta | None:
    """The seconds of `Prefer: wait=…` (RFC 7240, section 4.3), if the client names any."""
    match = _PREFER_WAIT.search(header or "")
    return timedelta(seconds=int(match[1])) if match else None


class OnTheWay:
    """Judge calls of requests that were let in and do not wait at the judge yet: being sent, read, decoded.

    Without them in the estimate, whatever comes while the first are decoded would be let in.
    """

    def __init__(self) -> None:
        self._calls: defaultdict[Caller, float] = defaultdict(float)
        self._usual_calls = 2.0

    def ahead_of(self, caller: Caller, num_calls: int) -> int:
        """Calls that are served before the last of `num_calls` new ones: shares are fair among those on the way too."""
        return round(sum(calls if other == caller else min(calls, num_calls) for other, calls in self._calls.items()))

    @contextmanager
    def enter(self, caller: Caller) -> Iterator["Ticket"]:
        """A request whose body is unread: as large as requests usually are, until its ticket says otherwise."""
        ticket = Ticket(self)
        ticket.stands_for(self._usual_calls, caller)
        try:
            yield ticket
        finally:
            ticket.is_queued()

    def learn(self, num_calls: int) -> None:
        """A request turned out to take so many calls."""
        self._usual_calls += _NEWEST * (num_calls - self._usual_calls)

    def add(self, num_calls: float, caller: Caller) -> None:
        """For tickets."""
        self._calls[caller] += num_calls
        if self._calls[caller] < _NOTHING:
            del self._calls[caller]


class Ticket:
    """What one request has on the way."""

    def __init__(self, on_the_way: OnTheWay) -> None:
        self._on_the_way = on_the_way
        self._held: tuple[float, Caller] | None = None

    def stands_for(self, num_calls: float, caller: Caller) -> None:
        """So many calls of this caller from now on."""
        self.is_queued()
        self._on_the_way.add(num_calls, caller)
        self._held = (num_calls, caller)

    def is_queued(self) -> None:
        """They wait at the judge, or the request is over. Again is fine."""
        if self._held is not None:
            num_calls, caller = self._held
            self._on_the_way.add(-num_calls, caller)
            self._held = None


def admit(
    judge: Judge,
    caller: Caller,
    *,
    num_calls: int,
    on_the_way: int,
    deadline: timedelta,
    elapsed: timedelta,
    max_queued_calls: int,
) -> None:
    """Raise `TooBusy` unless `num_calls` calls of this caller can be queued and done within `deadline`.

    `on_the_way` calls will wait at the judge before them; `elapsed` of the deadline has passed already.
    """
    queued = judge.num_queued_calls + on_the_way
    if not queued:
        return
    needed = judge.seconds_until_done(caller, num_calls, on_the_way=on_the_way)
    estimate = elapsed + timedelta(seconds=needed)
    if queued + num_calls > max_queued_calls:
        raise TooBusy(f"{queued} judge calls are waiting already", reason=Refusal.QUEUE_FULL, retry_after=estimate)
    if estimate > _HEADROOM * deadline:
        detail = f"judging this would take about {estimate.total_seconds():.1f} s, and its deadline is "
        detail += f"{deadline.total_seconds():g} s"
        raise TooBusy(detail, reason=Refusal.DEADLINE, retry_after=estimate - deadline)
