"""A Redis in every kind of trouble, under rewards: it costs hits, and never an answer."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeAlias

import pytest

from services.storage.redis_verdicts import KEY_PREFIX
from tests.fault_proxy import proxy_before
from tests.redis_server import RedisServer, running_redis
from tests.reliability.flawed_judge import FlawedJudge
from tests.reliability.measures import percentiles
from tests.reliability.questions import Questions, Tally

Trouble: TypeAlias = Callable[[RedisServer], None]

ROUNDS = 3
"""New requests of each client; one more asks again what the first one asked."""
NUM_CLIENTS = 3


def _kill(redis: RedisServer) -> None:
    redis.kill()


def _flush(redis: RedisServer) -> None:
    with redis.admin() as admin:
        admin.flushall()


def _spoil(redis: RedisServer) -> None:
    with redis.admin() as admin:
        for number, key in enumerate(admin.keys(f"{KEY_PREFIX}*")):
            admin.set(key, [b"", b"\x00\xff", b"{}", b'{"answer": "1"}'][number % 4])


def _fill(redis: RedisServer) -> None:
    with redis.admin() as admin:
        admin.config_set("maxmemory-policy", "allkeys-lru")
        admin.config_set("maxmemory", "1500kb")


TROUBLES: dict[str, Trouble] = {"killed": _kill, "flushed": _flush, "spoilt": _spoil, "evicting": _fill}


class Traffic:
    """Clients that each ask for new rewards, and once more for the first ones."""

    def __init__(self, service) -> None:
        self.tally = Tally()
        self.seconds: list[float] = []
        self._service = service
        self._questions = Questions(7)

    async def flow(self, meddle: Callable[[], None]) -> None:
        """`meddle` happens while requests are under way, again and again."""
        clients = asyncio.gather(*(self._ask_again_and_again() for _ in range(NUM_CLIENTS)))
        meddling = asyncio.create_task(self._keep(meddle))
        await clients
        meddling.cancel()

    async def _ask_again_and_again(self) -> None:
        batches = [self._questions.batch(6) for _ in range(ROUNDS)]
        for batch in (*batches, batches[0]):
            begun = time.monotonic()
            self.tally.add(batch, await self._service.ask(batch))
            self.seconds.append(time.monotonic() - begun)

    async def _keep(self, meddle: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(0.05)
            await asyncio.to_thread(meddle)


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_a_redis_in_trouble_costs_no_answer(serve, running, scale, measured, trouble: str) -> None:
    with running_redis() as redis:
        async with running(f"{serve(FlawedJudge().app)}/v1", redis_url=redis.url) as service:
            traffic = Traffic(service)
            for _ in range(scale):
                await traffic.flow(lambda: TROUBLES[trouble](redis))
    _all_is_well(traffic, measured)


async def test_a_redis_that_falls_silent_costs_no_answer(serve, running, scale, ear, measured) -> None:
    password = ear.new_secret()
    with running_redis("--requirepass", password) as redis:
        async with (
            proxy_before(redis.socket) as proxy,
            running(
                f"{serve(FlawedJudge().app)}/v1", redis_url=f"redis://:{password}@127.0.0.1:{proxy.port}"
            ) as service,
        ):
            traffic = Traffic(service)
            for _ in range(scale):
                await traffic.flow(proxy.fall_silent)
            assert await service.metric("arr_redis_up") == 0
            assert await service.metric("arr_redis_failures_total") > 0
    _all_is_well(traffic, measured)


def _all_is_well(traffic: Traffic, measured) -> None:
    measured["groups"] = dict(traffic.tally.statuses)
    measured["latency"] = percentiles(traffic.seconds)
    assert traffic.tally.statuses == {"scored": traffic.tally.num_groups}
    assert not traffic.tally.refusals
    assert traffic.tally.violations == []
