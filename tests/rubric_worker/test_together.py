import asyncio

import pytest

from services.rubric_worker.together import each


async def test_results_stand_in_the_order_of_their_items() -> None:
    turns = [asyncio.Event() for _ in range(3)]

    async def after_the_next(place: int) -> int:
        if place + 1 < len(turns):
            await turns[place + 1].wait()
        turns[place].set()
        return 10 * place

    assert await each(range(3), after_the_next, at_once=3) == [0, 10, 20]


async def test_only_so_many_are_under_way_together() -> None:
    under_way, most = 0, 0

    async def count(_item: int) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    await each(range(20), count, at_once=4)
    assert (under_way, most) == (0, 4)


async def test_the_first_exception_is_raised_as_it_is_and_stops_the_others() -> None:
    stopped = []

    async def fail_or_wait(item: int) -> None:
        if item == 1:
            raise LookupError("gone")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.append(item)
            raise

    with pytest.raises(LookupError, match="gone"):
        await each(range(3), fail_or_wait, at_once=3)
    assert sorted(stopped) == [0, 2]


async def test_cancelling_stops_everything() -> None:
    begun, stopped = asyncio.Barrier(3), []

    async def wait(item: int) -> None:
        try:
            await begun.wait()
            await asyncio.Event().wait()
        finally:
            stopped.append(item)

    task = asyncio.create_task(each(range(2), wait, at_once=2))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(stopped) == [0, 1]
