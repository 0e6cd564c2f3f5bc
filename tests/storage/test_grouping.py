import asyncio
from collections.abc import Sequence

import pytest

from services.storage.grouping import Grouped


class Doubling:
    """Doubles numbers when told to, refuses groups with a negative one, and keeps what it was given."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.began = asyncio.Event()
        self.may_end = asyncio.Event()

    async def work(self, items: Sequence[int]) -> Sequence[int]:
        self.groups.append(list(items))
        self.began.set()
        await self.may_end.wait()
        if min(items) < 0:
            raise LookupError("refused")
        return [2 * item for item in items]


@pytest.fixture
def doubling() -> Doubling:
    return Doubling()


async def test_what_arrives_while_a_group_is_worked_on_goes_together_into_the_next(doubling: Doubling) -> None:
    grouped = Grouped(doubling.work, max_items=10)
    first = asyncio.create_task(grouped.do(1))
    await doubling.began.wait()
    others = [asyncio.create_task(grouped.do(item)) for item in (2, 3, 4)]
    await asyncio.sleep(0)
    doubling.may_end.set()
    assert await asyncio.gather(first, *others) == [2, 4, 6, 8]
    assert doubling.groups == [[1], [2, 3, 4]]


async def test_a_group_is_no_larger_than_the_work_can_take(doubling: Doubling) -> None:
    doubling.may_end.set()
    grouped = Grouped(doubling.work, max_items=2)
    assert await asyncio.gather(*(grouped.do(item) for item in range(5))) == [0, 2, 4, 6, 8]
    assert doubling.groups == [[0, 1], [2, 3], [4]]


async def test_a_failed_group_fails_for_its_callers_and_nobody_else(doubling: Doubling) -> None:
    doubling.may_end.set()
    grouped = Grouped(doubling.work, max_items=2)
    outcomes = await asyncio.gather(*(grouped.do(item) for item in (1, 2, 3, -4, 5)), return_exceptions=True)
    assert [isinstance(outcome, LookupError) for outcome in outcomes] == [False, False, True, True, False]
    assert await grouped.do(3) == 6


async def test_a_result_that_is_missing_is_an_error_and_not_an_endless_wait() -> None:
    async def forget_one(items: Sequence[int]) -> Sequence[int]:
        return items[1:]

    with pytest.raises(ValueError, match="shorter"):
        await Grouped(forget_one, max_items=10).do(1)


async def test_a_caller_that_leaves_takes_nothing_from_the_others_nor_its_own_item_back(doubling: Doubling) -> None:
    grouped = Grouped(doubling.work, max_items=10)
    in_work = asyncio.create_task(grouped.do(1))
    await doubling.began.wait()
    waiting, staying = asyncio.create_task(grouped.do(2)), asyncio.create_task(grouped.do(3))
    await asyncio.sleep(0)
    in_work.cancel()
    waiting.cancel()
    doubling.may_end.set()
    assert await staying == 6
    assert doubling.groups == [[1], [2, 3]]
    assert in_work.cancelled()
    assert waiting.cancelled()


async def test_draining_waits_for_what_was_handed_in(doubling: Doubling) -> None:
    grouped = Grouped(doubling.work, max_items=1)
    await grouped.drain()
    items = [asyncio.create_task(grouped.do(item)) for item in (1, 2)]
    await doubling.began.wait()
    drained = asyncio.create_task(grouped.drain())
    await asyncio.sleep(0)
    assert not drained.done()
    doubling.may_end.set()
    await drained
    assert doubling.groups == [[1], [2]]
    assert await asyncio.gather(*items) == [2, 4]
