"""How long a question will take, from how long calls took.

Owns the mean call duration and the one formula for admission. Refuses to decide: whoever admits knows the deadline.
"""


class CallSeconds:
    """Exponentially weighted mean of call durations."""

    def __init__(self, *, weight: float = 0.1) -> None:
        """`weight` of the newest duration, above 0 and up to 1; at 0.1 the last 22 calls are nine tenths of it."""
        self._weight = weight
        self._mean: float | None = None

    @property
    def mean(self) -> float | None:
        """Seconds per call; None before the first."""
        return self._mean

    def observe(self, seconds: float) -> None:
        """A call took `seconds`."""
        self._mean = seconds if self._mean is None else self._mean + self._weight * (seconds - self._mean)


def seconds_until_done(*, work_ahead: int, window: int, call_seconds: float | None) -> float:
    """Seconds until `work_ahead` calls, the caller's own included, have been made and answered.

    Little's law: calls in the system = throughput × time in the system. With `window` calls kept in flight, each for
    `call_seconds`, throughput is window / call_seconds calls per second; the last of the calls starts after
    work_ahead / throughput seconds and ends one call later.

    0.0 while `call_seconds` is unknown: nobody is refused on a guess. A window below 1 counts as 1: that no replica can
    be asked is the breakers' news, not a wait.
    """
    if call_seconds is None:
        return 0.0
    return work_ahead * call_seconds / max(1, window) + call_seconds
