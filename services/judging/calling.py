"""One call to a judge, and again where that can help.

Owns retries: how often, after how long, and who pays. This is the only place that has them: the openai client does not
retry, and a caller that did would multiply the load of a judge in trouble.

The one rule: no attempt begins that would have to wait beyond its deadline, or that the retry budget does not cover.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from random import uniform
from typing import Generic, TypeVar

import stamina

from services.judging.backend import BackendError, OpenAIBackend
from services.judging.scheduling.retry_budget import RetryBudget
from services.judging.scheduling.scheduler import Bundle, Scheduler
from shared_schemas.problems import FailureType

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class CallLimits:
    """How often, and how long."""

    attempts: int = 3
    """Attempts per call when a failure is retryable."""
    first_backoff: timedelta = timedelta(milliseconds=100)
    """Wait before the second attempt, jittered; doubles."""
    max_backoff: timedelta = timedelta(seconds=10)
    """Longest wait between attempts."""
    call_timeout: timedelta = timedelta(seconds=60)
    """Longest single call."""


@dataclass(kw_only=True, slots=True)
class Spent:
    """What a call has taken so far; also to be read when it was cancelled."""

    num_calls: int = 0
    """Calls that got their slot, retries included."""
    queue_seconds: float = 0.0
    """Waiting for a slot, over all attempts."""
    seconds: float = 0.0
    """The last attempt alone, once it was answered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Call(Generic[T]):
    """What is asked, and on whose account."""

    ask: Callable[[OpenAIBackend], Awaitable[T]]
    """Raises `BackendError`."""
    bundle: Bundle
    """What it travels with."""
    deadline: float
    """Time of the event loop, seconds."""


class Calling:
    """Makes calls over one scheduler."""

    def __init__(self, scheduler: Scheduler, *, limits: CallLimits) -> None:
        self._scheduler = scheduler
        self._limits = limits
        self._budget = RetryBudget()

    async def make(self, call: Call[T], *, spent: Spent) -> T:
        """The answer, from the attempt that got one. Counts in `spent`; raises the last attempt's `BackendError`."""
        now = asyncio.get_running_loop().time
        before, waiting_since, asked_at = spent.num_calls, 0.0, 0.0

        async def ask(backend: OpenAIBackend) -> T:
            nonlocal asked_at
            asked_at = now()
            spent.queue_seconds += asked_at - waiting_since
            spent.num_calls += 1
            if spent.num_calls == before + 1:
                self._budget.on_call()
            return await call.ask(backend)

        def backoff(error: Exception) -> bool | float:
            return self._backoff(error, num_calls=spent.num_calls - before, deadline=call.deadline)

        async for attempt in stamina.retry_context(on=backoff, attempts=self._limits.attempts, timeout=None):
            with attempt:
                waiting_since = now()
                answer = await self._scheduler.run(call.bundle, ask)
        spent.seconds = now() - asked_at
        return answer

    def _backoff(self, error: Exception, *, num_calls: int, deadline: float) -> bool | float:
        """Whether to try again, and after how many seconds.

        A call whose replica broke the connection off is tried again at once where another is left. One that was told no
        has to be paid for from the retry budget: a judge in trouble gets little more than it would anyway.
        """
        if not isinstance(error, BackendError) or not error.type.is_retryable or num_calls == 0:
            return False
        was_told = error.status is not None or error.type is FailureType.JUDGE_TIMEOUT
        if was_told and not self._budget.take():
            return False
        longest = min(self._limits.first_backoff * 2 ** (num_calls - 1), self._limits.max_backoff)
        seconds = uniform(0.5, 1.0) * longest.total_seconds()
        if error.retry_after_seconds is not None:
            seconds += min(error.retry_after_seconds, self._limits.max_backoff.total_seconds())
        return seconds if asyncio.get_running_loop().time() + seconds < deadline else False
