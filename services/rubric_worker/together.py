"""Many things at once, but not all of them: the way from a list of items to a list of results.

The one rule: the first exception is raised as it is, after everything else that was under way has been stopped.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


async def each(items: Sequence[ItemT], do: Callable[[ItemT], Awaitable[ResultT]], *, at_once: int) -> list[ResultT]:
    """What `do` makes of every item, in their order; `at_once` of them are under way together."""
    slots = asyncio.Semaphore(at_once)

    async def one(item: ItemT) -> ResultT:
        async with slots:
            return await do(item)

    tasks = [asyncio.create_task(one(item)) for item in items]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
