"""What every chat cache promises, told to the one in memory and the one in the database."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.judging.chat_cache import (
    ChatAnswer,
    ChatCache,
    MemoryChatCache,
    decode_chat_answer,
    encode_chat_answer,
)
from services.storage.chat_answers import DatabaseChatCache
from services.storage.database import Database

ANSWER = ChatAnswer(text='{"name": "röt\\u0000"}' * 500, prompt_tokens=700, completion_tokens=20)
LATER = replace(ANSWER, text="{}")


@pytest.fixture
def memory() -> ChatCache:
    return MemoryChatCache()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[ChatCache]:
    database = await Database.open(f"sqlite+aiosqlite:///{tmp_path / 'arr.db'}")
    yield DatabaseChatCache(database)
    await database.close()


@pytest.fixture(params=["memory", "database"])
def cache(request: pytest.FixtureRequest) -> ChatCache:
    implementation: ChatCache = request.getfixturevalue(request.param)
    return implementation


async def test_an_unknown_key_has_no_answer(cache: ChatCache) -> None:
    assert await cache.get("nothing") is None


async def test_an_answer_comes_back_as_it_was_stored(cache: ChatCache) -> None:
    assert await cache.put("key", ANSWER) == ANSWER
    assert await cache.get("key") == ANSWER
    assert await cache.get("other") is None


async def test_the_first_answer_is_everybodys(cache: ChatCache) -> None:
    await cache.put("key", ANSWER)
    assert await cache.put("key", LATER) == ANSWER
    assert await cache.get("key") == ANSWER


async def test_writers_at_the_same_time_agree(cache: ChatCache) -> None:
    stored = await asyncio.gather(*(cache.put("key", replace(ANSWER, prompt_tokens=n)) for n in range(10)))
    assert len(set(stored)) == 1


async def test_memory_forgets_what_was_used_longest_ago() -> None:
    cache = MemoryChatCache(max_entries=2)
    await cache.put("a", ANSWER)
    await cache.put("b", ANSWER)
    await cache.get("a")
    await cache.put("c", ANSWER)
    assert [await cache.get(key) is not None for key in "abc"] == [True, False, True]


def test_a_memory_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        MemoryChatCache(max_entries=0)


@given(key=st.text(), text=st.text(), tokens=st.integers(0, 10**9))
def test_an_answer_is_written_down_and_read_back(key: str, text: str, tokens: int) -> None:
    answer = ChatAnswer(text=text, prompt_tokens=tokens, completion_tokens=1)
    assert decode_chat_answer(key, encode_chat_answer(key, answer)) == answer


def test_what_was_written_down_differently_is_not_there() -> None:
    encoded = encode_chat_answer("key", ANSWER)
    damaged = [encoded.replace("700", "701"), encoded[:-9], "", "[]", "null", '["a", "b"]', encoded.upper()]
    assert [decode_chat_answer("key", text) for text in damaged] == [None] * len(damaged)
    assert decode_chat_answer("another key", encoded) is None
