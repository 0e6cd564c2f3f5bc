"""What every verdict cache promises, told to the one in memory, the one in the database and the one in a real Redis.

Another implementation runs the same sentences by joining `IMPLEMENTATIONS`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from services.judging.answers import Answer, ChoiceAnswer, LabelAnswer, encode_answer
from services.judging.cache import MemoryVerdictCache, VerdictCache
from services.storage.database import Database
from services.storage.redis_verdicts import KEY_PREFIX, RedisVerdictCache
from services.storage.verdicts import DatabaseVerdictCache
from tests.redis_server import RedisServer, running_redis

ANSWER = LabelAnswer(log_p_first=-0.25, log_p_second=-1.5, label_mass=0.99, prompt_tokens=700, completion_tokens=1)
CHOICE = ChoiceAnswer(chose_first=False, prompt_tokens=700, completion_tokens=40)

IMPLEMENTATIONS = ["memory_cache", "database_cache", "redis_cache"]

Overwrite: TypeAlias = Callable[[str, str], Awaitable[None]]


@pytest.fixture
def memory_cache() -> VerdictCache:
    return MemoryVerdictCache()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(f"sqlite+aiosqlite:///{tmp_path / 'arr.db'}")
    yield database
    await database.close()


@pytest.fixture
def database_cache(database: Database) -> VerdictCache:
    return DatabaseVerdictCache(database)


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture
async def redis_cache(redis: RedisServer) -> AsyncIterator[VerdictCache]:
    with redis.admin() as admin:
        admin.flushall()
    patience = timedelta(seconds=20)  # no operation shall be late, however busy the machine is
    cache = RedisVerdictCache(redis.url, operation_timeout=patience)
    yield cache
    assert (cache.state, cache.num_failures) == ("ok", 0)
    await cache.aclose()


@pytest.fixture(params=IMPLEMENTATIONS)
def cache(request: pytest.FixtureRequest) -> VerdictCache:
    implementation: VerdictCache = request.getfixturevalue(request.param)
    return implementation


@pytest.fixture
def overwrite_in_database(database: Database) -> Overwrite:
    async def overwrite(key: str, value: str) -> None:
        async with database.writing() as session:
            statement = text("UPDATE verdicts SET answer = :value WHERE key = :key")
            await session.execute(statement, {"key": key, "value": value})

    return overwrite


@pytest.fixture
def overwrite_in_redis(redis: RedisServer) -> Overwrite:
    async def overwrite(key: str, value: str) -> None:
        with redis.admin() as admin:
            assert admin.set(KEY_PREFIX + key, value, xx=True)

    return overwrite


@pytest.fixture(params=["database", "redis"])
def cache_and_overwrite(request: pytest.FixtureRequest) -> tuple[VerdictCache, Overwrite]:
    """A cache that others can write to, and `overwrite(key, value)` to do so."""
    cache, overwrite = f"{request.param}_cache", f"overwrite_in_{request.param}"
    return request.getfixturevalue(cache), request.getfixturevalue(overwrite)


async def test_an_unknown_key_has_no_answer(cache: VerdictCache) -> None:
    assert await cache.get_many(["nothing"]) == {}


async def test_no_keys_have_no_answers(cache: VerdictCache) -> None:
    assert await cache.get_many([]) == {}


@pytest.mark.parametrize("answer", [ANSWER, CHOICE])
async def test_an_answer_of_either_kind_comes_back(cache: VerdictCache, answer: Answer) -> None:
    assert await cache.put("a", answer) == answer
    assert await cache.get_many(["a", "b"]) == {"a": answer}


TOKENS = st.integers(0, 10**9)
ANSWERS = st.one_of(
    st.builds(
        LabelAnswer,
        log_p_first=st.floats(-1e300, 0.0),
        log_p_second=st.floats(-1e300, 0.0),
        label_mass=st.floats(0.0, 1.0),
        prompt_tokens=TOKENS,
        completion_tokens=TOKENS,
    ),
    st.builds(ChoiceAnswer, chose_first=st.booleans(), prompt_tokens=TOKENS, completion_tokens=TOKENS),
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(answers=st.lists(ANSWERS, max_size=10))
async def test_answers_come_back_bit_for_bit(cache: VerdictCache, answers: list[Answer]) -> None:
    named = {repr(answer): answer for answer in answers}  # the cache outlives an example: its keys are the answers
    assert await asyncio.gather(*(cache.put(key, answer) for key, answer in named.items())) == list(named.values())
    found = await cache.get_many(list(named))
    assert {key: repr(answer) for key, answer in found.items()} == {key: key for key in named}  # tells 0.0 from -0.0


async def test_many_keys_are_answered_at_once_and_a_key_may_be_asked_twice(cache: VerdictCache) -> None:
    await cache.put("a", ANSWER)
    await cache.put("b", CHOICE)
    assert await cache.get_many(["b", "a", "b", "c"]) == {"a": ANSWER, "b": CHOICE}


async def test_thousands_of_keys_are_answered_at_once(cache: VerdictCache) -> None:
    answers = {f"key {number}": replace(ANSWER, prompt_tokens=number) for number in range(3000)}
    await asyncio.gather(*(cache.put(key, answer) for key, answer in answers.items()))
    unknown = [f"unknown {number}" for number in range(3000)]
    mixed = [key for pair in zip(answers, unknown, strict=True) for key in pair]
    assert await cache.get_many(mixed) == answers


async def test_the_first_writer_wins_and_the_second_learns_what_is_stored(cache: VerdictCache) -> None:
    later = replace(ANSWER, log_p_first=-9.0)
    await cache.put("a", ANSWER)
    assert await cache.put("a", later) == ANSWER
    assert await cache.get_many(["a"]) == {"a": ANSWER}


async def test_fifty_concurrent_writers_all_learn_the_same_answer(cache: VerdictCache) -> None:
    candidates = [replace(ANSWER, prompt_tokens=number) for number in range(50)]
    stored = await asyncio.gather(*(cache.put("a", candidate) for candidate in candidates))
    assert stored == [candidates[0]] * 50
    assert await cache.get_many(["a"]) == {"a": candidates[0]}


async def test_fifty_concurrent_readers_each_get_what_they_asked_for(cache: VerdictCache) -> None:
    answers = {str(number): replace(ANSWER, prompt_tokens=number) for number in range(51)}
    await asyncio.gather(*(cache.put(key, answer) for key, answer in answers.items()))
    found = await asyncio.gather(*(cache.get_many([str(n), str(n + 1), "unknown"]) for n in range(50)))
    assert found == [{key: answers[key] for key in (str(n), str(n + 1))} for n in range(50)]


async def test_a_writer_that_is_cancelled_disturbs_no_other(cache: VerdictCache) -> None:
    puts = [asyncio.create_task(cache.put(str(number), ANSWER)) for number in range(10)]
    await asyncio.sleep(0)
    for put in puts[::2]:
        put.cancel()
    outcomes = await asyncio.gather(*puts, return_exceptions=True)
    assert outcomes[1::2] == [ANSWER] * 5
    assert len(await cache.get_many([str(number) for number in range(1, 10, 2)])) == 5


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="empty"),
        pytest.param("\x00\xff garbage", id="garbage"),
        pytest.param("[1]", id="other JSON"),
        pytest.param(encode_answer("a", ANSWER)[:-9], id="cut short"),
        pytest.param(encode_answer("a", ANSWER).replace("-0.25", "-0.75"), id="changed"),
        pytest.param(encode_answer("b", ANSWER), id="of another key"),
    ],
)
async def test_a_damaged_answer_is_a_miss_and_is_replaced(
    cache_and_overwrite: tuple[VerdictCache, Overwrite], value: str
) -> None:
    cache, overwrite = cache_and_overwrite
    await cache.put("a", ANSWER)
    await overwrite("a", value)
    assert await cache.get_many(["a"]) == {}
    assert await cache.put("a", CHOICE) == CHOICE
    assert await cache.get_many(["a"]) == {"a": CHOICE}


async def test_the_memory_cache_forgets_what_was_not_used_longest() -> None:
    cache = MemoryVerdictCache(max_entries=2)
    await cache.put("a", ANSWER)
    await cache.put("b", ANSWER)
    await cache.get_many(["a"])
    await cache.put("c", ANSWER)
    assert set(await cache.get_many(["a", "b", "c"])) == {"a", "c"}


def test_a_cache_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        MemoryVerdictCache(max_entries=0)


def test_log_odds_are_the_difference_of_the_labels() -> None:
    assert ANSWER.log_odds == 1.25
