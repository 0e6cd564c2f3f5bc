"""Refusing what cannot be done in time, before any work is spent on it.

Owns the decision and its `Retry-After`; how long work takes is estimated by the scheduler. The one rule: a request that
is let in is expected to be answered within its deadline; one that is not is told at once.
"""

import re
from datetime import timedelta
from enum import StrEnum

from services.judging.callers import Caller
from services.judging.judge import Judge
from services.reward_api.errors import Overloaded

_PREFER_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,6})(?:$|[,;\s])")

_HEADROOM = 0.9
"""Share of the deadline that queueing may fill: estimates are off, and an answer after the deadline is work wasted."""

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


def admit(judge: Judge, caller: Caller, *, num_calls: int, deadline: timedelta, max_queued_calls: int) -> None:
    """Raise `TooBusy` unless `num_calls` calls of this caller can be queued and done within `deadline`."""
    queued = judge.num_queued_calls
    if not queued:
        return
    estimate = timedelta(seconds=judge.seconds_until_done(caller, num_calls))
    if queued + num_calls > max_queued_calls:
        raise TooBusy(f"{queued} judge calls are waiting already", reason=Refusal.QUEUE_FULL, retry_after=estimate)
    if estimate > _HEADROOM * deadline:
        detail = f"judging this would take about {estimate.total_seconds():.1f} s, and its deadline is "
        detail += f"{deadline.total_seconds():g} s"
        raise TooBusy(detail, reason=Refusal.DEADLINE, retry_after=estimate - deadline)
