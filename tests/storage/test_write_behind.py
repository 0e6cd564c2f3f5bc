import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.storage.write_behind import WriteBehind, WriteBehindLimits

AT_ONCE = timedelta()


class Sink:
    """Remembers batches; `open` lets writers through."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gone: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.has_begun = asyncio.Event()

    async def write(self, batch: Sequence[int]) -> None:
        self.has_begun.set()
        await self.gate.wait()
        if 13 in batch:
            raise ValueError("bad luck")
        self.batches.append(list(batch))

    def buffer(self, **limits: object) -> WriteBehind[int]:
        values = {"max_delay": AT_ONCE} | limits
        return WriteBehind(self.write, limits=WriteBehindLimits(**values), on_gone=self.gone.append)  # type: ignore[arg-type]

    @property
    def written(self) -> list[int]:
        return [item for batch in self.batches for item in batch]


@pytest.fixture
async def sink() -> Sink:
    return Sink()


async def test_what_is_put_is_written_in_order_in_batches_of_at_most_the_limit(sink: Sink) -> None:
    buffer = sink.buffer(max_batch=4)
    async with buffer.open():
        for item in range(10):
            buffer.put(item)
    assert sink.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert (buffer.num_written, buffer.num_pending, buffer.num_dropped) == (10, 0, 0)


async def test_a_full_batch_does_not_wait_for_the_delay(sink: Sink) -> None:
    buffer = sink.buffer(max_batch=2, max_delay=timedelta(days=1))
    async with buffer.open():
        buffer.put(0)
        buffer.put(1)
        await sink.has_begun.wait()
    assert sink.batches == [[0, 1]]


async def test_what_comes_after_a_full_batch_waits_for_company_again(sink: Sink) -> None:
    buffer = sink.buffer(max_batch=2, max_delay=timedelta(days=1))
    async with buffer.open():
        for item in (0, 1, 2):
            buffer.put(item)
        await sink.has_begun.wait()
        for _ in range(10):
            await asyncio.sleep(0)
        assert sink.batches == [[0, 1]]
        buffer.put(3)
    assert sink.batches == [[0, 1], [2, 3]]


async def test_a_lonely_item_waits_for_company_only_until_the_delay(sink: Sink) -> None:
    buffer = sink.buffer(max_batch=100, max_delay=timedelta(milliseconds=1))
    async with buffer.open():
        buffer.put(0)
        await sink.has_begun.wait()
        assert sink.batches == [[0]]


async def test_a_full_buffer_lets_the_oldest_go_and_counts_it(sink: Sink) -> None:
    sink.gate.clear()
    buffer = sink.buffer(max_pending=3, max_batch=1)
    async with buffer.open():
        buffer.put(0)
        await sink.has_begun.wait()  # 0 is being written and no longer waits
        for item in range(1, 6):
            buffer.put(item)
        assert (buffer.num_pending, buffer.num_dropped, sink.gone) == (4, 2, [1, 2])
        sink.gate.set()
    assert sink.written == [0, 3, 4, 5]
    assert buffer.num_written == 4


async def test_an_item_that_cannot_be_written_is_counted_and_takes_no_other_along(sink: Sink) -> None:
    buffer = sink.buffer(max_batch=3)
    async with buffer.open():
        for item in (12, 13, 14, 15, 16):
            buffer.put(item)
    assert sink.batches == [[12], [14], [15, 16]]
    assert (buffer.num_written, buffer.num_dropped, buffer.num_pending) == (4, 1, 0)
    assert sink.gone == [12, 13, 14, 15, 16]


async def test_the_end_gives_up_on_a_writer_that_hangs(sink: Sink) -> None:
    sink.gate.clear()
    buffer = sink.buffer(max_batch=2, flush_within=timedelta(milliseconds=10))
    async with buffer.open():
        for item in range(5):
            buffer.put(item)
        await sink.has_begun.wait()
    assert (buffer.num_written, buffer.num_dropped, buffer.num_pending) == (0, 5, 0)
    assert sink.gone == [0, 1, 2, 3, 4]


@settings(deadline=None)
@given(
    items=st.lists(st.integers(0, 20), max_size=30),
    max_batch=st.integers(1, 5),
    max_pending=st.integers(1, 40),
)
def test_every_item_is_written_once_or_counted_as_dropped(items: list[int], max_batch: int, max_pending: int) -> None:
    async def run() -> None:
        sink = Sink()
        buffer = sink.buffer(max_batch=max_batch, max_pending=max_pending)
        opened: AbstractAsyncContextManager[None] = buffer.open()
        async with opened:
            for item in items:
                buffer.put(item)
        assert buffer.num_written == len(sink.written)
        assert buffer.num_written + buffer.num_dropped == len(items) == len(sink.gone)
        assert buffer.num_pending == 0
        assert sorted(sink.gone) == sorted(items)

    asyncio.run(run())
