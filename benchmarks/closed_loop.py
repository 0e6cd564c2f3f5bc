"""Clients that ask again as soon as they are answered, for a fixed time.

Owns the window of a measurement: what ends inside it counts, what is under way at its end is cancelled and does not.
Clients start one after the other: in step, they would all end just before the end of the window, or just after.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from benchmarks.measures import Sample
from benchmarks.processes import Server

Ask: TypeAlias = Callable[[], Awaitable[Sample]]
"""One request of one client."""

_LONGEST_WARM_UP = timedelta(seconds=4)
"""Whoever is not answered by then is measured all the same."""

_MOMENT = timedelta(milliseconds=50)


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """How long is measured."""

    warm_up: timedelta
    """Asked, and not counted; longer where some client has not been answered by then."""
    measured: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What ended inside the window."""

    samples_by_client: list[list[Sample]]
    seconds: float
    cpu_seconds: dict[str, float]
    """By process; `clients` is this one."""

    @property
    def samples(self) -> list[Sample]:
        """Of all clients."""
        return [sample for samples in self.samples_by_client for sample in samples]


async def measure(clients: Sequence[Ask], window: Window, *, servers: Sequence[Server]) -> Measured:
    """Let every client ask in a loop. Raises what a client raises."""
    samples: list[list[Sample]] = [[] for _ in clients]

    async def ask_again_and_again(index: int) -> None:
        await asyncio.sleep(index / len(clients) * window.warm_up.total_seconds())
        while True:
            samples[index].append(await clients[index]())

    asking = [asyncio.create_task(ask_again_and_again(index)) for index in range(len(clients))]
    try:
        await _warm_up(asking, samples, window.warm_up)
        for warm in samples:
            warm.clear()
        begun, cpu_before = time.perf_counter(), _cpu_seconds(servers)
        await _unless_one_fails(asking, window.measured)
        seconds, cpu_after = time.perf_counter() - begun, _cpu_seconds(servers)
        counted = [list(each) for each in samples]
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    cpu_seconds = {name: cpu_after[name] - before for name, before in cpu_before.items()}
    return Measured(samples_by_client=counted, seconds=seconds, cpu_seconds=cpu_seconds)


async def _warm_up(
    asking: "Sequence[asyncio.Task[None]]", samples: Sequence[list[Sample]], at_least: timedelta
) -> None:
    begun = time.perf_counter()
    await _unless_one_fails(asking, at_least)
    while not all(samples) and time.perf_counter() - begun < _LONGEST_WARM_UP.total_seconds():
        await _unless_one_fails(asking, _MOMENT)


async def _unless_one_fails(tasks: "Sequence[asyncio.Task[None]]", time_left: timedelta) -> None:
    done, _ = await asyncio.wait(tasks, timeout=time_left.total_seconds(), return_when=asyncio.FIRST_EXCEPTION)
    for task in done:
        task.result()


def _cpu_seconds(servers: Sequence[Server]) -> dict[str, float]:
    return {"clients": time.process_time(), **{server.name: server.cpu_seconds() for server in servers}}
