"""Grouping: what many callers want at the same time is done together, because one statement costs as much as many rows.

Owns who goes with whom; knows nothing of what is done.

The one rule: what is handed in is done whatever becomes of its caller, and a group that fails fails for exactly those
who were in it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Grouped(Generic[Item, Result]):
    """One group at a time; what is handed in meanwhile goes together into the next one. For one event loop."""

    def __init__(self, work: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]], *, max_items: int) -> None:
        """`work` gets 1 to `max_items` items, in the order they came, and returns the result of each."""
        self._work = work
        self._max_items = max_items
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def do(self, item: Item) -> Result:
        """The result of `item`; raises what the work on its group raised."""
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, result))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work_on_all())
        return await result

    async def drain(self) -> None:
        """Return when everything handed in has been done."""
        while self._worker is not None and not self._worker.done():
            await asyncio.shield(self._worker)

    async def _work_on_all(self) -> None:
        while self._waiting:
            group = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._max_items))]
            try:
                results = await self._work([item for item, _ in group])
                for (_, waiting), result in zip(group, results, strict=True):
                    if not waiting.done():  # its caller has not left
                        waiting.set_result(result)
            except Exception as error:  # noqa: BLE001 - raised where `waiting` is awaited
                for _, waiting in group:
                    if not waiting.done():
                        waiting.set_exception(error)
