"""Single flight: callers that want the same thing at the same time share one call.

Owns who shares, and when a shared call ends; knows nothing of judges or caches.

The one rule: a call belongs to all who wait for it. Cancelling one of them, the first included, disturbs nobody else;
when the last one goes, the call is cancelled.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Flight(Generic[T]):
    task: asyncio.Task[T]
    num_waiting: int = 0


class SingleFlight(Generic[T]):
    """Calls in flight by key, within one event loop."""

    def __init__(self) -> None:
        self._flights: dict[str, _Flight[T]] = {}

    def __len__(self) -> int:
        """Calls in flight now."""
        return len(self._flights)

    async def run(self, key: str, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Join the call in flight under `key`, or start `call()`; returns or raises what the call does."""
        flight = self._flights.get(key) or self._start(key, call)
        flight.num_waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.num_waiting -= 1
            if flight.num_waiting == 0:
                self._forget(key, flight)
                flight.task.cancel()

    def _start(self, key: str, call: Callable[[], Coroutine[Any, Any, T]]) -> _Flight[T]:
        flight = _Flight(task=asyncio.create_task(call()))
        self._flights[key] = flight
        flight.task.add_done_callback(lambda task: self._land(key, flight))
        return flight

    def _land(self, key: str, flight: _Flight[T]) -> None:
        self._forget(key, flight)
        if not flight.task.cancelled():
            flight.task.exception()  # an error that nobody was left to see is not worth asyncio's warning

    def _forget(self, key: str, flight: _Flight[T]) -> None:
        """Remove this flight; a newer one under the same key stays."""
        if self._flights.get(key) is flight:
            del self._flights[key]
