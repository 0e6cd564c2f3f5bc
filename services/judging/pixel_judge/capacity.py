"""How much the pixel judge works on at once, and how much waits for it.

Owns the places and the line before them; refuses to know what is done in a place.

The one rule: who leaves, by finishing, failing or being cancelled, gives its place to the next in line.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.judging.pixel_judge.settings import Overflow


class NoPlaceError(Exception):
    """All places are taken, and waiting is not allowed."""


class Places:
    """`capacity` places (0 = any number), given in the order of arrival; used from one event loop."""

    def __init__(self, *, capacity: int, overflow: Overflow) -> None:
        self._free = asyncio.Semaphore(capacity or sys.maxsize)
        self._overflow = overflow
        self.num_running = 0
        """Requests that have a place."""
        self.num_waiting = 0
        """Requests in line for one."""

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place inside the block. Raises `NoPlaceError`."""
        if self._overflow is Overflow.REFUSE and self._free.locked():
            raise NoPlaceError
        self.num_waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.num_waiting -= 1
        self.num_running += 1
        try:
            yield
        finally:
            self.num_running -= 1
            self._free.release()
