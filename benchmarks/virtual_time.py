"""An event loop whose clock jumps to the next thing that is due, so that an hour takes as long as what happens in it.

Owns the clock. Refuses sockets, threads and child processes: nobody is asked whether something came in from outside.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Clock(selectors.SelectSelector):
    """Stands where the loop would wait for the outside world, and lets the time pass at once."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everybody waits, and nothing is due: this would be for ever")
        self.now += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Starts at 0 seconds."""

    def __init__(self) -> None:
        self._clock = _Clock()
        super().__init__(self._clock)

    def time(self) -> float:
        """Virtual seconds."""
        return self._clock.now


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """What comes of `main` on a clock of its own. Raises what it raises."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
