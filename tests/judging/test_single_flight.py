"""Shared calls: who waits, who may leave, and when a call ends."""

import asyncio

import pytest

from services.judging.single_flight import SingleFlight


class Call:
    """A call that finishes when it is told to."""

    def __init__(self) -> None:
        self.num_started = 0
        self.was_cancelled = False
        self.started = asyncio.Event()
        self.may_finish = asyncio.Event()

    async def __call__(self) -> int:
        self.num_started += 1
        self.started.set()
        try:
            await self.may_finish.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        return self.num_started


@pytest.fixture
def call() -> Call:
    return Call()


@pytest.fixture
def flights() -> SingleFlight[int]:
    return SingleFlight()


async def test_equal_keys_in_flight_share_one_call(flights: SingleFlight[int], call: Call) -> None:
    waiters = [asyncio.create_task(flights.run("key", call)) for _ in range(100)]
    await call.started.wait()
    call.may_finish.set()
    assert await asyncio.gather(*waiters) == [1] * 100
    assert call.num_started == 1
    assert len(flights) == 0


async def test_different_keys_do_not_share(flights: SingleFlight[int], call: Call) -> None:
    call.may_finish.set()
    await asyncio.gather(flights.run("a", call), flights.run("b", call))
    assert call.num_started == 2


async def test_a_finished_call_is_not_shared_any_more(flights: SingleFlight[int], call: Call) -> None:
    call.may_finish.set()
    assert await flights.run("key", call) == 1
    assert await flights.run("key", call) == 2


async def test_cancelling_the_leader_does_not_disturb_its_followers(flights: SingleFlight[int], call: Call) -> None:
    leader = asyncio.create_task(flights.run("key", call))
    await call.started.wait()
    follower = asyncio.create_task(flights.run("key", call))
    await asyncio.sleep(0)
    leader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leader
    call.may_finish.set()
    assert await follower == 1
    assert not call.was_cancelled


async def test_cancelling_everybody_cancels_the_call(flights: SingleFlight[int], call: Call) -> None:
    waiters = [asyncio.create_task(flights.run("key", call)) for _ in range(3)]
    await call.started.wait()
    for waiter in waiters:
        waiter.cancel()
    await asyncio.gather(*waiters, return_exceptions=True)
    await asyncio.sleep(0)
    assert call.was_cancelled
    assert len(flights) == 0


async def test_nobody_joins_a_call_that_is_being_cancelled(flights: SingleFlight[int], call: Call) -> None:
    abandoned = asyncio.create_task(flights.run("key", call))
    await call.started.wait()
    abandoned.cancel()
    await asyncio.gather(abandoned, return_exceptions=True)
    call.may_finish.set()
    assert await flights.run("key", call) == 2


async def test_a_failure_reaches_every_waiter(flights: SingleFlight[int]) -> None:
    async def fail() -> int:
        raise LookupError("no answer")

    results = await asyncio.gather(*(flights.run("key", fail) for _ in range(3)), return_exceptions=True)
    assert [str(result) for result in results] == ["no answer"] * 3
    assert len(flights) == 0
