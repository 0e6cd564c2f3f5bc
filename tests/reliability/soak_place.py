"""Where a soak takes place: two judges, a Redis, a PostgreSQL, and two replicas of the service as real processes.

Every fault comes from here, and is written down with its time. One replica is never killed: its memory is watched.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import uvicorn
from starlette.requests import Request
from starlette.responses import Response

from services.telemetry import configure_logging
from tests.postgres_server import running_postgres
from tests.redis_server import RedisServer, running_redis
from tests.reliability.flawed_judge import FlawedJudge, Judgement, sound
from tests.reliability.processes import Process

Fault: TypeAlias = Callable[["Place", Random], Awaitable[None]]

STORM_SECONDS = 4.0
RECOVERY_SECONDS = 10.0
"""After a storm; what is promised of one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Happening:
    """A fault; seconds of the monotonic clock."""

    name: str
    begun: float
    ended: float


@dataclass(kw_only=True)
class Place:
    """Everything that can break, and what did."""

    judges: list[FlawedJudge]
    redis: RedisServer
    start_replica: Callable[[int], Process]
    replicas: list[Process]
    """The first is left alone."""
    happenings: list[Happening] = field(default_factory=list)
    storms: list[float] = field(default_factory=list)
    """When they began; also the one that has not ended."""

    def stormed(self, begun: float, ended: float) -> bool:
        """Whether a judge may have failed whoever asked in this time."""
        return any(at < ended and begun < at + STORM_SECONDS + RECOVERY_SECONDS for at in self.storms)

    async def suffer(self, fault: str, random: Random) -> None:
        """Have one fault happen, and pass."""
        begun = time.monotonic()
        await FAULTS[fault](self, random)
        self.happenings.append(Happening(name=fault, begun=begun, ended=time.monotonic()))


async def _storm(place: Place, random: Random) -> None:
    status = random.choice((429, 500, 503))

    async def say_no(_request: Request, _judgement: Judgement) -> Response:
        return Response(status_code=status, headers={"Retry-After": "1"})

    place.storms.append(time.monotonic())
    for judge in place.judges:
        judge.flaw = say_no
    await asyncio.sleep(STORM_SECONDS)
    for judge in place.judges:
        judge.flaw = sound


async def _flush(place: Place, _random: Random) -> None:
    with place.redis.admin() as redis:
        await asyncio.to_thread(redis.flushall)


async def _kill_redis(place: Place, random: Random) -> None:
    place.redis.kill()
    await asyncio.sleep(random.uniform(0.5, 3.0))
    await asyncio.to_thread(place.redis.start)


async def _kill_replica(place: Place, _random: Random) -> None:
    place.replicas[1].kill()
    place.replicas[1] = await asyncio.to_thread(place.start_replica, 1)


FAULTS: dict[str, Fault] = {
    "judge storm": _storm,
    "Redis flushed": _flush,
    "Redis killed": _kill_redis,
    "replica killed": _kill_replica,
}


@contextmanager
def place_in(folder: Path) -> Iterator[Place]:
    """Start everything, and end it."""
    configure_logging("CRITICAL")  # of the judges, which live in this process: a killed replica leaves them
    with ExitStack() as stack:
        judges = [FlawedJudge(latency_ms=5.0) for _ in range(2)]
        judge_urls = [stack.enter_context(_serving(judge.app)) for judge in judges]
        redis = stack.enter_context(running_redis())
        postgres = stack.enter_context(running_postgres())
        settings = {
            "ARR_JUDGE_URLS": ",".join(f"{url}/v1" for url in judge_urls),
            "ARR_REDIS_URL": redis.url,
            "ARR_DATABASE_URL": postgres.new_database(),
            "ARR_DATA_DIR": str(folder / "data"),
            "ARR_LOG_LEVEL": "WARNING",
            "OMP_NUM_THREADS": "1",
        }
        ports = [_free_port() for _ in range(2)]

        def start(number: int) -> Process:
            replica = Process(folder, "serve", "--port", str(ports[number]), **settings)
            stack.callback(replica.kill)
            return replica

        replicas = [start(number) for number in range(2)]
        yield Place(judges=judges, redis=redis, start_replica=start, replicas=replicas)


@contextmanager
def _serving(app: Any) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
