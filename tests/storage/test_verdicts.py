import asyncio
import dataclasses

import pytest
from sqlalchemy import text

from services.judging.cache import LabelAnswer
from services.storage.database import Database
from services.storage.verdicts import DatabaseVerdictCache

ANSWER = LabelAnswer(
    log_p_first=-0.1234567890123456,
    log_p_second=-2.2,
    label_mass=0.998,
    prompt_tokens=700,
    completion_tokens=1,
)


@pytest.fixture
def cache(database: Database) -> DatabaseVerdictCache:
    return DatabaseVerdictCache(database)


async def test_an_answer_comes_back_bit_for_bit(cache: DatabaseVerdictCache) -> None:
    await cache.put("key", ANSWER)
    assert await cache.get_many(["key", "other"]) == {"key": ANSWER}


async def test_answers_survive_the_process(cache: DatabaseVerdictCache, database_url: str) -> None:
    await cache.put("key", ANSWER)
    later = await Database.open(database_url)
    assert await DatabaseVerdictCache(later).get_many(["key"]) == {"key": ANSWER}
    await later.close()


async def test_the_first_writer_wins(cache: DatabaseVerdictCache) -> None:
    answers = [dataclasses.replace(ANSWER, prompt_tokens=i) for i in range(8)]
    stored = await asyncio.gather(*(cache.put("key", answer) for answer in answers))
    assert len(set(stored)) == 1
    assert await cache.get_many(["key"]) == {"key": stored[0]}


async def test_a_damaged_row_is_a_miss_and_is_replaced(cache: DatabaseVerdictCache, database: Database) -> None:
    await cache.put("key", ANSWER)
    async with database.writing() as session:
        await session.execute(text("UPDATE verdicts SET log_p_first = -9.0"))
    assert await cache.get_many(["key"]) == {}
    fresh = dataclasses.replace(ANSWER, prompt_tokens=1)
    assert await cache.put("key", fresh) == fresh
    assert await cache.get_many(["key"]) == {"key": fresh}


async def test_an_answer_moved_under_another_key_is_a_miss(cache: DatabaseVerdictCache, database: Database) -> None:
    await cache.put("key", ANSWER)
    async with database.writing() as session:
        await session.execute(text("UPDATE verdicts SET key = 'stolen'"))
    assert await cache.get_many(["stolen"]) == {}
