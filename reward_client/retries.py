"""When to ask again: which answers are worth it, how long to wait, and when to stop.

stamina does the waiting; this file decides. The one rule: no attempt and no wait begins for which the deadline
leaves no room.
"""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpx
import stamina

from reward_client.errors import ServiceUnavailable
from shared_schemas.problems import Problem

_WORTH_RETRYING = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}

RETRY_AFTER_JITTER = 0.1
"""Up to this share of `Retry-After` is added at random, so that many ranks do not come back at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """How patient a client is."""

    attempts: int = 6
    """Requests sent at most per call."""
    deadline: timedelta = timedelta(minutes=5)
    """For one call with all its attempts and waits."""
    wait_initial: timedelta = timedelta(milliseconds=200)
    """First wait where the service names none; doubles each time, plus up to as much jitter."""
    wait_max: timedelta = timedelta(seconds=10)
    """Longest wait where the service names none."""


class WorthRetryingError(ServiceUnavailable):
    """An answer (or none at all) after which the same request may succeed."""

    def __init__(self, message: str, *, problem: Problem | None = None, retry_after: timedelta | None = None) -> None:
        super().__init__(message, problem=problem)
        self.retry_after = retry_after


class Deadline:
    """A point in time that every attempt of a call shares."""

    def __init__(self, budget: timedelta) -> None:
        self._end = time.monotonic() + budget.total_seconds()

    def remaining_seconds(self) -> float:
        """Seconds left; raises `ServiceUnavailable` when there are none."""
        remaining = self._end - time.monotonic()
        if remaining <= 0:
            raise ServiceUnavailable("the deadline of the call has passed")
        return remaining

    def leaves_room_for(self, wait: timedelta) -> bool:
        """Whether an attempt could still follow after this wait."""
        return time.monotonic() + wait.total_seconds() < self._end


def backoff(deadline: Deadline) -> Callable[[Exception], bool | float]:
    """stamina's hook: `False` = give up, `True` = wait its usual time, a number = wait that many seconds."""

    def decide(error: Exception) -> bool | float:
        if not isinstance(error, WorthRetryingError):
            return False
        wait = error.retry_after
        if wait is None:
            return deadline.leaves_room_for(timedelta())
        wait *= random.uniform(1.0, 1.0 + RETRY_AFTER_JITTER)
        return wait.total_seconds() if deadline.leaves_room_for(wait) else False

    return decide


def blocking(policy: RetryPolicy) -> stamina.RetryingCaller:
    """Calls a function until it succeeds or `backoff` gives up; the hook keeps the deadline."""
    return stamina.RetryingCaller(
        attempts=policy.attempts,
        timeout=None,
        wait_initial=policy.wait_initial,
        wait_jitter=policy.wait_initial,
        wait_max=policy.wait_max,
    )


def non_blocking(policy: RetryPolicy) -> stamina.AsyncRetryingCaller:
    """Like `blocking`, for coroutine functions."""
    return stamina.AsyncRetryingCaller(
        attempts=policy.attempts,
        timeout=None,
        wait_initial=policy.wait_initial,
        wait_jitter=policy.wait_initial,
        wait_max=policy.wait_max,
    )


def is_worth_retrying(status: int) -> bool:
    """Whether the same request may get another answer than this status."""
    return status in _WORTH_RETRYING


def retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """The `Retry-After` header, in seconds or as a date; none when absent or unreadable."""
    value = headers.get("Retry-After", "")
    if value.isdecimal():
        return timedelta(seconds=int(value))
    try:
        wait = parsedate_to_datetime(value) - datetime.now(UTC)
    except (ValueError, TypeError):
        return None
    return max(wait, timedelta())


def no_answer(error: httpx.TransportError) -> WorthRetryingError:
    """A connection that could not be made, broke or timed out."""
    return WorthRetryingError(f"no answer from the service: {error or type(error).__name__}")
