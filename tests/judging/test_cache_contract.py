"""What every verdict cache promises, told to the in-memory one.

Another implementation runs the same sentences by adding its fixture's name to `IMPLEMENTATIONS`.
"""

import asyncio
from dataclasses import replace

import pytest

from services.judging.cache import LabelAnswer, MemoryVerdictCache, VerdictCache

ANSWER = LabelAnswer(log_p_first=-0.25, log_p_second=-1.5, label_mass=0.99, prompt_tokens=700, completion_tokens=1)

IMPLEMENTATIONS = ["memory_cache"]


@pytest.fixture
def memory_cache() -> VerdictCache:
    return MemoryVerdictCache()


@pytest.fixture(params=IMPLEMENTATIONS)
def cache(request: pytest.FixtureRequest) -> VerdictCache:
    implementation: VerdictCache = request.getfixturevalue(request.param)
    return implementation


async def test_an_unknown_key_has_no_answer(cache: VerdictCache) -> None:
    assert await cache.get_many(["nothing"]) == {}


async def test_an_answer_comes_back_bit_for_bit(cache: VerdictCache) -> None:
    assert await cache.put("a", ANSWER) == ANSWER
    assert await cache.get_many(["a", "b"]) == {"a": ANSWER}


async def test_many_keys_are_answered_at_once_and_a_key_may_be_asked_twice(cache: VerdictCache) -> None:
    other = replace(ANSWER, log_p_first=-3.0)
    await cache.put("a", ANSWER)
    await cache.put("b", other)
    assert await cache.get_many(["b", "a", "b", "c"]) == {"a": ANSWER, "b": other}


async def test_the_first_writer_wins_and_the_second_learns_what_is_stored(cache: VerdictCache) -> None:
    later = replace(ANSWER, log_p_first=-9.0)
    await cache.put("a", ANSWER)
    assert await cache.put("a", later) == ANSWER
    assert await cache.get_many(["a"]) == {"a": ANSWER}


async def test_concurrent_writers_all_learn_the_same_answer(cache: VerdictCache) -> None:
    candidates = [replace(ANSWER, prompt_tokens=number) for number in range(8)]
    stored = await asyncio.gather(*(cache.put("a", candidate) for candidate in candidates))
    assert len({answer.prompt_tokens for answer in stored}) == 1


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
