"""How many retries a stream of calls may cost.

Owns one balance, after Finagle's `RetryBudget`: every call deposits a fraction of a retry, every retry withdraws a
whole one, so that a judge that fails everything is asked 1 + `ratio` times as much, not a multiple. Refuses to say when
to retry, and what.

The one rule: retries ≤ ratio × calls + reserve, always.
"""

_PARTS = 1000
"""Parts of one retry. Whole numbers, as in Finagle: ten deposits of 0.1 are one retry exactly."""

_MAX_SAVED = 10
"""Retries that may be saved beyond the reserve: enough for a burst, and no storm after quiet hours."""


class RetryBudget:
    """A balance of retries."""

    def __init__(self, *, ratio: float = 0.1, reserve: int = 10) -> None:
        """Start with `reserve` retries; every call adds `ratio` of one (in thousandths)."""
        self._deposit = round(ratio * _PARTS)
        self._balance = reserve * _PARTS
        self._most = (reserve + _MAX_SAVED) * _PARTS

    def on_call(self) -> None:
        """A call was made for the first time: deposit."""
        self._balance = min(self._most, self._balance + self._deposit)

    def take(self) -> bool:
        """Withdraw one retry; False if there is none."""
        if self._balance < _PARTS:
            return False
        self._balance -= _PARTS
        return True
