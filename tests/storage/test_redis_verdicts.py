"""What a Redis that is shared, lost, silent, flushed, full or none at all does to the verdict cache: never more than
misses. What it does when all is well is told by `tests/judging/test_cache_contract.py`."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta

import pytest

from services.judging.answers import LabelAnswer
from services.storage.redis_verdicts import KEY_PREFIX, RedisVerdictCache
from tests.fault_proxy import FaultProxy, deaf_port, proxy_before, serving_streams
from tests.redis_server import RedisServer, running_redis

ANSWER = LabelAnswer(log_p_first=-0.25, log_p_second=-1.5, label_mass=0.99, prompt_tokens=700, completion_tokens=1)
OTHER = replace(ANSWER, log_p_first=-9.0)
PATIENCE = timedelta(seconds=20)
"""Time limit of operations where none shall be late, however busy the machine is."""
SHORT = timedelta(milliseconds=300)
"""Time limit of operations where some are meant to be late."""
SANE_SECONDS = 3.0
"""No measurement, but what a client that waits would exceed."""


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture
async def proxy(redis: RedisServer) -> AsyncIterator[FaultProxy]:
    async with proxy_before(redis.socket) as proxy:
        yield proxy


@pytest.fixture
async def connect(clock: Clock) -> AsyncIterator[Callable[..., RedisVerdictCache]]:
    """`connect(url, …)`: a cache that is closed after the test."""
    async with AsyncExitStack() as stack:

        def connect(url: str, **options) -> RedisVerdictCache:
            cache = RedisVerdictCache(url, clock=clock, **{"operation_timeout": PATIENCE, **options})
            stack.push_async_callback(cache.aclose)
            return cache

        yield connect


async def in_sane_time(calls: Awaitable):
    async with asyncio.timeout(SANE_SECONDS):
        return await calls


async def recover(cache: RedisVerdictCache, clock: Clock) -> str:
    """Let the longest pause pass and the probe end."""
    clock.now += 10.0
    return await cache.check()


async def test_services_share_what_one_of_them_asked_first(redis, connect) -> None:
    one, two = connect(redis.url), connect(redis.url)
    assert await one.put("a", ANSWER) == ANSWER
    assert await two.put("a", OTHER) == ANSWER
    assert await two.get_many(["a"]) == {"a": ANSWER}


async def test_services_that_write_at_once_agree(redis, connect) -> None:
    caches = [connect(redis.url) for _ in range(5)]
    answers = [replace(ANSWER, prompt_tokens=number) for number in range(5)]
    for key in map(str, range(20)):
        stored = await asyncio.gather(*(cache.put(key, a) for cache, a in zip(caches, answers, strict=True)))
        assert len(set(stored)) == 1


async def test_keys_have_a_prefix_and_no_time_to_live(redis, connect) -> None:
    await connect(redis.url).put("sha256:1", ANSWER)
    with redis.admin() as admin:
        assert admin.keys() == [f"{KEY_PREFIX}sha256:1".encode()]
        assert admin.ttl(f"{KEY_PREFIX}sha256:1") == -1


async def test_many_readers_share_few_connections(redis, connect) -> None:
    cache = connect(redis.url, max_connections=3)
    await cache.put("a", ANSWER)
    found = await asyncio.gather(*(cache.get_many(["a"]) for _ in range(200)))
    assert found == [{"a": ANSWER}] * 200
    with redis.admin() as admin:
        assert len(admin.client_list()) <= 3 + 1
    assert (cache.state, cache.num_failures) == ("ok", 0)


async def test_a_reader_that_leaves_disturbs_no_other(redis, connect) -> None:
    cache = connect(redis.url, max_connections=2)
    await cache.put("a", ANSWER)
    for _ in range(20):
        readers = [asyncio.create_task(cache.get_many(["a"])) for _ in range(10)]
        await asyncio.sleep(0)
        for reader in readers[::2]:
            reader.cancel()
        assert (await asyncio.gather(*readers, return_exceptions=True))[1::2] == [{"a": ANSWER}] * 5
    assert cache.num_failures == 0


async def test_a_pause_of_this_process_is_no_silence_of_redis(redis, connect) -> None:
    limit = timedelta(milliseconds=100)
    for rounds in range(1, 7):
        cache = connect(redis.url, operation_timeout=limit)
        reader, writer = asyncio.create_task(cache.get_many(["a"])), asyncio.create_task(cache.put("b", ANSWER))
        for _ in range(rounds):  # of the event loop: the pause comes while connecting, while waiting for an answer …
            await asyncio.sleep(0)
        time.sleep(1.5 * limit.total_seconds())  # noqa: ASYNC251 - holds up everything, as heavy work would
        await asyncio.gather(reader, writer)
        assert (cache.state, cache.num_failures) == ("ok", 0)


async def test_a_key_that_holds_another_type_is_a_miss_and_is_replaced(redis, connect) -> None:
    with redis.admin() as admin:
        admin.rpush(f"{KEY_PREFIX}a", "garbage")
    cache = connect(redis.url)
    assert await cache.get_many(["a"]) == {}
    assert await cache.put("a", ANSWER) == ANSWER
    assert await cache.get_many(["a"]) == {"a": ANSWER}
    assert (cache.state, cache.num_refused_puts) == ("ok", 0)


async def test_a_redis_killed_in_the_middle_of_traffic_costs_hits_only_and_is_used_again(redis, connect, clock) -> None:
    cache = connect(redis.url)
    under_way, lost, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def traffic(client: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            key, answer = f"{client} {number}", replace(ANSWER, prompt_tokens=number)
            assert await cache.put(key, answer) == answer
            found = await cache.get_many([key])
            assert found in ({}, {key: answer})
            if found and number > 5:
                under_way.set()
            if not cache.is_available:
                lost.set()
            await asyncio.sleep(0)  # without Redis, nothing else in here waits

    async with asyncio.TaskGroup() as clients:
        for client in range(8):
            clients.create_task(traffic(client))
        await under_way.wait()
        redis.kill()
        await lost.wait()
        assert cache.state.startswith("Redis: no connection (")
        assert await recover(cache, clock) == cache.state
        redis.start()
        assert await recover(cache, clock) == "ok"
        stop.set()
    await cache.put("after", ANSWER)
    assert await connect(redis.url).get_many(["after"]) == {"after": ANSWER}


async def test_a_redis_that_never_answers_costs_one_time_limit_and_then_nothing(redis, proxy, connect, clock) -> None:
    cache = connect(f"redis://127.0.0.1:{proxy.port}/0", operation_timeout=SHORT)
    assert await cache.put("a", ANSWER) == ANSWER
    proxy.fall_silent()
    reads = [cache.get_many(["a"]) for _ in range(50)]
    writes = [cache.put(f"b{number}", OTHER) for number in range(50)]
    outcomes = await in_sane_time(asyncio.gather(*reads, *writes))
    assert outcomes == [{}] * 50 + [OTHER] * 50
    assert (cache.is_available, cache.state) == (False, "Redis: no answer in time")

    failures = cache.num_failures
    await asyncio.gather(*(cache.get_many(["a"]) for _ in range(100)), *(cache.put("a", OTHER) for _ in range(100)))
    assert cache.num_failures == failures  # none of them asked

    proxy.answer_again()
    assert await recover(cache, clock) == "ok"
    assert await cache.put("a", OTHER) == ANSWER


async def test_nobody_waits_for_the_probe_of_a_redis_that_is_away(redis, proxy, connect, clock) -> None:
    cache = connect(f"redis://127.0.0.1:{proxy.port}/0", operation_timeout=SHORT)
    proxy.fall_silent()
    await cache.get_many(["a"])
    failures = cache.num_failures
    clock.now += 10.0
    assert await cache.get_many(["a"]) == {}
    assert await cache.put("a", ANSWER) == ANSWER
    assert cache.num_failures == failures  # the probe that the read began has not even failed yet
    await in_sane_time(cache.check())
    assert cache.num_failures == failures + 1


async def test_an_address_that_never_picks_up_costs_one_time_limit(connect) -> None:
    with deaf_port() as port:
        cache = RedisVerdictCache(f"redis://127.0.0.1:{port}/0")
        calls = [cache.get_many(["a"]), cache.put("a", ANSWER), cache.get_many([str(n) for n in range(3000)])]
        assert await in_sane_time(asyncio.gather(*calls)) == [{}, ANSWER, {}]
        assert cache.state == "Redis: no answer in time"
        await cache.aclose()


async def test_an_answer_that_comes_too_late_is_nobody_elses_answer(redis, proxy, connect, clock) -> None:
    cache = connect(f"redis://127.0.0.1:{proxy.port}/0", max_connections=1, operation_timeout=SHORT)
    await cache.put("a", ANSWER)
    await cache.put("b", OTHER)
    proxy.fall_silent()
    assert await cache.get_many(["a"]) == {}
    proxy.answer_again()
    assert await recover(cache, clock) == "ok"
    assert await cache.get_many(["b"]) == {"b": OTHER}


async def test_a_redis_that_is_flushed_all_the_time_costs_hits_only(redis, connect) -> None:
    cache = connect(redis.url)
    with redis.admin() as admin:
        for number in range(200):
            calls = [cache.put(f"{number % 7}", ANSWER), cache.get_many([f"{number % 7}"])]
            if number % 3 == 0:
                admin.flushall()
            stored, found = await asyncio.gather(*calls)
            assert stored == ANSWER
            assert found in ({}, {f"{number % 7}": ANSWER})
    assert (cache.state, cache.num_failures, cache.num_refused_puts) == ("ok", 0, 0)


async def fill(cache: RedisVerdictCache, num_answers: int) -> None:
    keys = [f"sha256:{number:064}" for number in range(num_answers)]
    assert await asyncio.gather(*(cache.put(key, ANSWER) for key in keys)) == [ANSWER] * num_answers


async def test_a_full_redis_that_evicts_forgets_the_oldest_answers(connect) -> None:
    with running_redis("--maxmemory", "5mb", "--maxmemory-policy", "allkeys-lru") as redis:
        cache = connect(redis.url)
        await fill(cache, 12_000)  # some 7 MB
        assert await cache.put("newest", ANSWER) == ANSWER
        assert await cache.get_many(["newest"]) == {"newest": ANSWER}
        with redis.admin() as admin:
            assert 0 < admin.dbsize() < 12_000
        assert (cache.state, cache.num_failures, cache.num_refused_puts) == ("ok", 0, 0)


async def test_a_full_redis_that_does_not_evict_still_answers_and_says_so(connect) -> None:
    with running_redis("--maxmemory", "5mb", "--maxmemory-policy", "noeviction") as redis:
        cache = connect(redis.url)
        await cache.put("oldest", ANSWER)
        await fill(cache, 12_000)
        assert cache.num_refused_puts > 0
        with redis.admin() as admin:
            admin.config_set("maxmemory", "1mb")  # what is freed in between shall make no room for one more
        assert await cache.put("newest", ANSWER) == ANSWER
        assert await cache.get_many(["oldest", "newest"]) == {"oldest": ANSWER}
        num_refused = cache.num_refused_puts
        assert await cache.put("oldest", OTHER) == OTHER  # refused before it was looked at
        assert cache.num_refused_puts == num_refused + 1  # and not forced upon Redis
        assert cache.is_available
        assert cache.state == "Redis does not store answers: its memory is full, and its policy is not to evict"
        assert cache.num_failures == 0
        with redis.admin() as admin:
            admin.config_set("maxmemory", "100mb")
        assert await cache.put("oldest", OTHER) == ANSWER
        assert cache.state == "ok"


@pytest.mark.parametrize(
    "nonsense",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"$x\r\n",
        b"+WELL\r\n",
        b"*-9\r\n",
        b"*1\r\n$1\r\nx\r\n",
        b"\xff\x00",
        b"",
    ],
)
@pytest.mark.parametrize("credentials", ["", "user:secret@"])
async def test_a_server_that_is_no_redis_costs_hits_only(connect, nonsense: bytes, credentials: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while nonsense and await reader.read(1000):
            writer.write(nonsense)

    async with serving_streams(answer) as port:
        cache = connect(f"redis://{credentials}127.0.0.1:{port}", operation_timeout=SHORT)
        assert await in_sane_time(cache.get_many(["a", "b"])) == {}
        assert await in_sane_time(cache.put("a", ANSWER)) == ANSWER
        assert cache.num_failures > 0
        assert "\n" not in cache.state


async def test_refused_credentials_are_named_and_not_told(connect, caplog) -> None:
    with running_redis("--requirepass", "right") as redis:
        for url in (redis.url, f"{redis.url}?password=s3cret"):
            cache = connect(url)
            assert await cache.put("a", ANSWER) == ANSWER
            assert cache.state == "Redis: our credentials are refused"
        assert await connect(f"{redis.url}?password=right").check() == "ok"
    assert "s3cret" not in caplog.text


async def test_a_server_that_repeats_our_password_does_not_get_it_into_the_log(connect, caplog) -> None:
    caplog.set_level(logging.DEBUG)

    async def repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.read(1000)
        writer.write(b"-ERR unknown command, with args beginning with: " + asked.replace(b"\r\n", b" ") + b"\r\n")

    async with serving_streams(repeat) as port:
        cache = connect(f"redis://:s3cret@127.0.0.1:{port}/0")
        assert "ResponseError" in await cache.check()
        told = [cache.state, repr(cache), *(str(vars(record)) for record in caplog.records)]
    assert len(told) > 2
    assert not any("s3cret" in text for text in told)


async def test_an_outage_is_logged_once_and_so_is_its_end(redis, connect, clock, caplog) -> None:
    caplog.set_level(logging.INFO, logger="services.storage.redis_verdicts")
    cache = connect(redis.url)
    redis.kill()
    for _ in range(5):
        await recover(cache, clock)
        await cache.get_many(["a"])
    redis.start()
    await recover(cache, clock)
    await recover(cache, clock)
    assert [record.message for record in caplog.records] == [
        "verdicts are neither looked up nor shared until Redis is back",
        "Redis is back",
    ]


@pytest.mark.parametrize(
    "url",
    [
        "http://:s3cret@cache",
        "cache:6379",
        "redis://:s3/cret@cache:6379/0",
        "redis://s3cret#1@cache",
        "redis://:6379?s3cret@cache",
        "redis://:s3cret@cache:port",
        "redis://:s3cret@cache?no_such_option=1",
    ],
)
def test_a_url_that_is_wrong_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(ValueError, match="must look like redis://") as refusal:
        RedisVerdictCache(url)
    assert "s3" not in str(refusal.value)
    assert refusal.value.__suppress_context__


async def test_closing_stores_what_was_handed_in(redis, connect) -> None:
    cache = RedisVerdictCache(redis.url, operation_timeout=PATIENCE)
    puts = [asyncio.create_task(cache.put(str(number), ANSWER)) for number in range(600)]
    await asyncio.sleep(0)
    for put in puts:
        put.cancel()
    await cache.aclose()
    assert len(await connect(redis.url).get_many([str(number) for number in range(600)])) == 600


async def test_a_cache_closes_while_its_redis_is_silent(redis, proxy, clock) -> None:
    cache = RedisVerdictCache(f"redis://127.0.0.1:{proxy.port}/0", operation_timeout=SHORT, clock=clock)
    proxy.fall_silent()
    await cache.get_many(["a"])
    clock.now += 10.0
    await cache.get_many(["a"])  # begins a probe
    await in_sane_time(cache.aclose())
