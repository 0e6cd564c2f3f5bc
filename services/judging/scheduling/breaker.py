"""Whether a replica is worth asking at all.

Owns the circuit breaker of one replica (Nygard, *Release It!*, 2007): closed while it answers, open after several
failures in a row, half open while one probe finds out. Refuses to probe: it says when.

The one rule: an answer is proof of life. A success closes the breaker, whatever state it is in and whoever asked.
"""

import random
from collections.abc import Callable
from enum import StrEnum


class BreakerState(StrEnum):
    """Where the breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    """One probe is under way."""


class Breaker:
    """Opens on `threshold` failures in a row; every failed probe doubles the pause before the next, up to the longest.

    Pauses are cut by up to half at random: several services must not probe a returning server in step.
    """

    def __init__(
        self,
        *,
        threshold: int = 3,
        first_pause_seconds: float = 0.5,
        max_pause_seconds: float = 10.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`jitter` returns 0 to 1: the share of the random half of a pause that is kept."""
        self._threshold = threshold
        self._first_pause_seconds = first_pause_seconds
        self._max_pause_seconds = max_pause_seconds
        self._jitter = jitter
        self._state = BreakerState.CLOSED
        self._num_failures = 0
        self._pause_seconds = first_pause_seconds
        self._next_probe_at: float | None = None

    @property
    def state(self) -> BreakerState:
        """Where the breaker stands."""
        return self._state

    @property
    def is_closed(self) -> bool:
        """Whether ordinary calls may go to the replica."""
        return self._state is BreakerState.CLOSED

    @property
    def next_probe_at(self) -> float | None:
        """When `may_probe` turns true, seconds of the monotonic clock; None unless the breaker is open."""
        return self._next_probe_at

    def on_success(self) -> None:
        """A call ended well: closes the breaker and forgets the failures so far."""
        self._state = BreakerState.CLOSED
        self._num_failures = 0
        self._next_probe_at = None

    def on_failure(self, *, now: float) -> None:
        """A call failed and the replica is to blame: opens the breaker at the threshold, or if it was the probe."""
        self._num_failures += 1
        if self._state is BreakerState.HALF_OPEN or self._num_failures >= self._threshold:
            self.trip(now=now)

    def trip(self, *, now: float) -> None:
        """Open at once, for a pause; twice the last one if a probe was under way. An open breaker stays as it is."""
        if self._state is BreakerState.OPEN:
            return
        if self._state is BreakerState.HALF_OPEN:
            self._pause_seconds = min(self._max_pause_seconds, 2 * self._pause_seconds)
        else:
            self._pause_seconds = self._first_pause_seconds
        self._state = BreakerState.OPEN
        self._next_probe_at = now + self._pause_seconds * (1 + self._jitter()) / 2

    def may_probe(self, *, now: float) -> bool:
        """True once per pause, when it is over; half open then, until `on_success` or `on_failure`.

        Whoever gets True must report how the probe ended.
        """
        if self._next_probe_at is None or now < self._next_probe_at:
            return False
        self._state = BreakerState.HALF_OPEN
        self._next_probe_at = None
        return True
