"""A fleet of trainers on paper, and what may happen to it.

Owns playing one scene: the same trainers, judges and chances whoever stands between them. Whoever looks at the numbers
is `fleet_report`.
"""

import asyncio
import random as chance
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from arr.sizing.waiting import Balance, balance
from benchmarks.fleet_judges import PaperBackend, Server, ServerShape
from benchmarks.fleet_services import Semaphore, Service, scheduled
from benchmarks.fleet_trainers import Kind, Tally, Trainer
from benchmarks.virtual_time import run_virtually


class Way(StrEnum):
    """Who stands between trainers and judges."""

    SCHEDULER = "scheduler"
    """This service, one process."""
    PROCESSES = "several schedulers"
    """This service, as many as are needed."""
    SEMAPHORE = "semaphore"
    """First come, first served."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outage:
    """One judge dies and returns; seconds of the measurement."""

    begins: float
    ends: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """What is played."""

    name: str
    kinds: tuple[Kind, ...]
    num_replicas: int
    server: ServerShape
    warm_up_seconds: float
    """Played and not counted."""
    measured_seconds: float
    num_processes: int
    """With `Way.PROCESSES`."""
    outage: Outage | None = None
    seed: int = 0

    @property
    def capacity(self) -> float:
        """Calls a second of all servers while they do nothing but read."""
        return self.num_replicas * self.server.calls_per_second

    @property
    def idle_seconds(self) -> float:
        """Until both orders of a pair are answered by a server that does nothing else."""
        return self.server.way_seconds + self.server.step_seconds + 2 / self.server.calls_per_second

    @property
    def predicted(self) -> Balance:
        """By the formulas of `arr size`, one step for each kind; outages and errors are not in them."""
        fleet = [kind.as_runs for kind in self.kinds]
        return balance(fleet, capacity=self.capacity, floor_seconds=self.idle_seconds)


@dataclass(frozen=True, kw_only=True, slots=True)
class Played:
    """What came of it."""

    scene: Scene
    way: Way
    runs: tuple[tuple[Kind, Tally], ...]
    num_calls: int
    """That were answered."""

    @property
    def used(self) -> float:
        """Share of the capacity that went into answers."""
        return self.num_calls / (self.scene.capacity * self.scene.measured_seconds)


def play(scene: Scene, way: Way) -> Played:
    """Play it; the same numbers every time."""
    state = chance.getstate()
    chance.seed(scene.seed)  # the scheduler's own jitter
    try:
        return run_virtually(_play(scene, way))
    finally:
        chance.setstate(state)


async def _play(scene: Scene, way: Way) -> Played:
    seeds = Random(scene.seed)
    servers = [Server(shape=scene.server, random=Random(seeds.random())) for _ in range(scene.num_replicas)]
    async with AsyncExitStack() as stack:
        for server in servers:
            await stack.enter_async_context(_running(server.work()))
        backends = [PaperBackend(server, name=f"judge-{number}") for number, server in enumerate(servers)]
        service = await stack.enter_async_context(_service(way, backends, scene, random=Random(seeds.random())))
        trainers = _trainers(scene, service, seeds)
        for trainer in trainers:
            await stack.enter_async_context(_running(trainer.train()))
        await asyncio.sleep(scene.warm_up_seconds)
        before = sum(server.num_answered for server in servers)
        for trainer in trainers:
            trainer.tally = Tally()
        await _measured(scene, servers[0])
        num_calls = sum(server.num_answered for server in servers) - before
        runs = tuple((trainer.kind, trainer.tally) for trainer in trainers)
    return Played(scene=scene, way=way, runs=runs, num_calls=num_calls)


async def _measured(scene: Scene, server: Server) -> None:
    """Let the measured time pass, with what happens in it."""
    if scene.outage is None:
        await asyncio.sleep(scene.measured_seconds)
        return
    await asyncio.sleep(scene.outage.begins)
    server.die()
    await asyncio.sleep(scene.outage.ends - scene.outage.begins)
    server.come_back()
    await asyncio.sleep(scene.measured_seconds - scene.outage.ends)


def _trainers(scene: Scene, service: Service, seeds: Random) -> list[Trainer]:
    return [
        Trainer(kind, run=f"{kind.name}-{number}", service=service, random=Random(seeds.random()))
        for kind in scene.kinds
        for number in range(kind.count)
    ]


@asynccontextmanager
async def _service(
    way: Way, backends: Sequence[PaperBackend], scene: Scene, *, random: Random
) -> AsyncIterator[Service]:
    if way is Way.SEMAPHORE:
        yield Semaphore(backends, random=random)
        return
    async with scheduled(backends, num_processes=scene.num_processes if way is Way.PROCESSES else 1) as service:
        yield service


@asynccontextmanager
async def _running(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Beside the block, and no longer. What it raises is raised at the end of the block."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
