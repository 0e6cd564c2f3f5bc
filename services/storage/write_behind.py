"""Write-behind: callers hand something over and go on; one task writes it in batches.

Owns the bounded buffer, when a batch is due and the flush at the end. What writing means, and when it is tried again,
belongs to the `write` that is given. The one rule: `put` never waits and never fails; when the buffer is full, the
oldest item goes, and is counted.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class WriteBehindLimits:
    """How much waits, and for how long."""

    max_pending: int = 50_000
    """Items that wait at most, the batch being written left out."""
    max_batch: int = 200
    """Items written at once: enough that a commit (4 ms) is cheap per item, few enough that preparing them for the
    database (0.07 ms per judgement) does not hold up the event loop."""
    max_delay: timedelta = timedelta(seconds=0.5)
    """How long an item waits for others to share its batch."""
    flush_within: timedelta = timedelta(seconds=5)
    """How long the end waits for the last batches. Orchestrators kill after 10 s or more."""


class WriteBehind(Generic[T]):
    """A buffer between those who `put` and one `write`, on one event loop."""

    def __init__(
        self,
        write: Callable[[Sequence[T]], Awaitable[None]],
        *,
        limits: WriteBehindLimits,
        on_gone: Callable[[T], None],
    ) -> None:
        """Write nothing before `open`.

        `write` returns when a batch is stored, and raises when it never will be; its items are then tried one by one
        and dropped if need be. `on_gone` is told of every item that is held no longer, be it written or dropped.
        """
        self._write = write
        self._limits = limits
        self._on_gone = on_gone
        self._waiting: deque[T] = deque()
        self._batch: list[T] = []
        self._something, self._batch_is_due = asyncio.Event(), asyncio.Event()
        self._is_closing = False
        self._num_written = self._num_dropped = 0

    @property
    def num_pending(self) -> int:
        """Items that are not written yet."""
        return len(self._waiting) + len(self._batch)

    @property
    def num_written(self) -> int:
        """Items written so far."""
        return self._num_written

    @property
    def num_dropped(self) -> int:
        """Items that will never be written."""
        return self._num_dropped

    def put(self, item: T) -> None:
        """Take an item. Returns at once."""
        if len(self._waiting) >= self._limits.max_pending:
            self._drop([self._waiting.popleft()])
        self._waiting.append(item)
        self._something.set()
        if len(self._waiting) >= self._limits.max_batch:
            self._batch_is_due.set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Write while the block lasts; at its end write what is left, and give up after `flush_within`."""
        writer = asyncio.create_task(self._run())
        try:
            yield
        finally:
            self._is_closing = True
            self._something.set()
            self._batch_is_due.set()
            with suppress(TimeoutError):
                await asyncio.wait_for(writer, self._limits.flush_within.total_seconds())
            if left := [*self._batch, *self._waiting]:
                _log.error("the end came before everything was written", extra={"num_dropped": len(left)})
                self._batch.clear()
                self._waiting.clear()
                self._drop(left)

    async def _run(self) -> None:
        while self._waiting or not self._is_closing:
            await self._something.wait()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._batch_is_due.wait(), self._limits.max_delay.total_seconds())
            await self._write_batch()

    async def _write_batch(self) -> None:
        self._batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._limits.max_batch))]
        self._await_more()
        dropped = await self._write_what_can_be(self._batch) if self._batch else []
        batch, self._batch = self._batch, []
        self._num_written += len(batch) - len(dropped)
        self._num_dropped += len(dropped)
        for item in batch:
            self._on_gone(item)

    async def _write_what_can_be(self, batch: Sequence[T]) -> list[T]:
        """Write a batch, item by item if it has to be: one that cannot be written takes no other along.

        Returns the items that are lost.
        """
        try:
            await self._write(batch)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with this batch, the next one shall be written
            if len(batch) == 1:
                _log.error("what cannot be written is dropped", exc_info=error)
                return list(batch)
            _log.warning("a batch cannot be written as a whole", extra={"error": type(error).__name__})
            return [lost for item in batch for lost in await self._write_what_can_be([item])]
        return []

    def _await_more(self) -> None:
        """Arm both events for what is still waiting; at the end they stay set, so that nothing waits any more."""
        if self._is_closing:
            return
        if not self._waiting:
            self._something.clear()
        if len(self._waiting) < self._limits.max_batch:
            self._batch_is_due.clear()

    def _drop(self, items: Sequence[T]) -> None:
        self._num_dropped += len(items)
        for item in items:
            self._on_gone(item)
