"""How many calls may be under way at one replica.

Owns one number, found by trial: additive increase, multiplicative decrease (Chiu & Jain, *Analysis of the Increase and
Decrease Algorithms for Congestion Avoidance in Computer Networks*, 1989), with TCP's slow start (Jacobson 1988).
Refuses to count the calls under way: the caller compares.

The one rule: a call says something only about the window that it was sent under.
"""

import math

_CUT = 0.85
"""TCP halves. Before a server that says no at a fixed limit, as judges do, halving leaves a quarter of it idle and this
9 % (tests/judging/scheduling/test_simulation.py)."""
_GENTLE_CUT = 0.9
_GENTLE_CUT_EVERY_SECONDS = 1.0
_READING_LASTS_SECONDS = 5.0
"""A replica's metrics may stop coming; what they last said must not hold the window for ever."""


class Window:
    """The number of calls in flight that a replica seems to bear."""

    def __init__(self, *, initial: int = 16, maximum: int = 256) -> None:
        if not 1 <= initial <= maximum:
            raise ValueError(f"a window needs 1 <= initial <= maximum, got {initial} and {maximum}")
        self._size = float(initial)
        self._maximum = maximum
        self._in_slow_start = True
        self._cut_at = -math.inf
        self._gently_cut_at = -math.inf
        self._held_until = -math.inf

    @property
    def limit(self) -> int:
        """Calls that may be in flight, 1 to `maximum`."""
        return int(self._size)

    def on_success(self, *, sent_at: float, was_full: bool, now: float) -> None:
        """A call was answered: the window grows by 1 in slow start, then by 1 per window of answers.

        Only a call that filled the window when it was sent (`was_full`) shows that the replica bears that much. Times
        are seconds of one monotonic clock, here and below.
        """
        if not was_full or sent_at <= self._cut_at or now < self._held_until:
            return
        growth = 1.0 if self._in_slow_start else 1.0 / self._size
        self._size = min(float(self._maximum), self._size + growth)

    def on_congestion(self, *, sent_at: float, now: float) -> None:
        """A call was turned away or timed out: the window is cut by 15 %, at most once per round trip.

        The other calls of the same round trip were sent before this cut; their failures tell the same news.
        """
        if sent_at <= self._cut_at:
            return
        self._cut_at = now
        self._shrink(_CUT)

    def on_server_queue(self, *, running: int, waiting: int, now: float) -> None:
        """The replica's own metrics: requests it works on, and requests it lets wait.

        A queue of a quarter of the batch keeps the batch full between two answers; a longer one is only delay, and
        takes fairness and order out of our hands. It costs a tenth of the window, at most once a second and not within
        a second of a cut, whose effect the metrics do not show yet. Until a reading without it, nothing grows.
        """
        if waiting <= max(2.0, running / 4):
            self._held_until = -math.inf
            return
        self._held_until = now + _READING_LASTS_SECONDS
        if now - max(self._cut_at, self._gently_cut_at) >= _GENTLE_CUT_EVERY_SECONDS:
            self._gently_cut_at = now
            self._shrink(_GENTLE_CUT)

    def _shrink(self, factor: float) -> None:
        self._in_slow_start = False
        self._size = max(1.0, self._size * factor)
