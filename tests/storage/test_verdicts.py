import asyncio
from dataclasses import replace

import pytest
from alembic import command
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DatabaseError

from services.judging.answers import LabelAnswer
from services.storage.database import Database, alembic_config
from services.storage.verdicts import DatabaseVerdictCache

ANSWER = LabelAnswer(
    log_p_first=-0.1234567890123456, log_p_second=-2.2, label_mass=0.998, prompt_tokens=700, completion_tokens=1
)


@pytest.fixture
def cache(database: Database) -> DatabaseVerdictCache:
    return DatabaseVerdictCache(database)


async def test_answers_survive_the_process(cache: DatabaseVerdictCache, database_url: str) -> None:
    await cache.put("key", ANSWER)
    later = await Database.open(database_url)
    assert await DatabaseVerdictCache(later).get_many(["key"]) == {"key": ANSWER}
    await later.close()


async def test_two_processes_that_write_at_once_agree(database_url: str) -> None:
    databases = [await Database.open(database_url) for _ in range(2)]
    caches = [DatabaseVerdictCache(database) for database in databases]
    stored = await asyncio.gather(
        *(
            caches[writer].put(f"key {number}", replace(ANSWER, prompt_tokens=writer))
            for number in range(30)
            for writer in (0, 1)
        )
    )
    assert stored[0::2] == stored[1::2]
    for database in databases:
        await database.close()


async def test_one_damaged_row_costs_no_other_answer(cache: DatabaseVerdictCache, database: Database) -> None:
    await asyncio.gather(*(cache.put(key, ANSWER) for key in "abc"))
    async with database.writing() as session:
        await session.execute(text("UPDATE verdicts SET answer = '[]' WHERE key = 'b'"))
    later = replace(ANSWER, prompt_tokens=1)
    assert await asyncio.gather(*(cache.put(key, later) for key in "abcd")) == [ANSWER, later, ANSWER, later]
    assert await cache.get_many(list("abcd")) == {"a": ANSWER, "b": later, "c": ANSWER, "d": later}


async def test_an_answer_moved_under_another_key_is_a_miss(cache: DatabaseVerdictCache, database: Database) -> None:
    await cache.put("key", ANSWER)
    async with database.writing() as session:
        await session.execute(text("UPDATE verdicts SET key = 'stolen'"))
    assert await cache.get_many(["stolen"]) == {}


async def test_a_put_that_cannot_be_stored_raises_and_the_next_one_is_tried(
    cache: DatabaseVerdictCache, database: Database
) -> None:
    async with database.writing() as session:
        await session.execute(text("ALTER TABLE verdicts RENAME TO away"))
    outcomes = await asyncio.gather(*(cache.put(key, ANSWER) for key in "ab"), return_exceptions=True)
    assert all(isinstance(outcome, DatabaseError) for outcome in outcomes)
    async with database.writing() as session:
        await session.execute(text("ALTER TABLE away RENAME TO verdicts"))
    assert await cache.put("a", ANSWER) == ANSWER


async def test_closing_waits_until_everything_is_stored(cache: DatabaseVerdictCache) -> None:
    puts = [asyncio.create_task(cache.put(str(number), ANSWER)) for number in range(1200)]
    await asyncio.sleep(0)  # they hand in their answers
    for put in puts:
        put.cancel()
    await cache.aclose()
    assert len(await cache.get_many([str(number) for number in range(1200)])) == 1200


async def test_the_migration_forgets_the_old_answers_and_can_be_undone(database: Database) -> None:
    old_columns = {"key", "log_p_first", "log_p_second", "label_mass", "prompt_tokens", "completion_tokens"}

    def migrate(connection: Connection) -> None:
        config = alembic_config(connection)
        command.downgrade(config, "0001")
        assert old_columns < {column["name"] for column in inspect(connection).get_columns("verdicts")}
        connection.execute(
            text("INSERT INTO verdicts VALUES ('key', -0.1, -2.2, 0.998, 700, 1, 'checksum', '2025-01-01 00:00:00')")
        )
        command.upgrade(config, "head")
        assert connection.scalar(text("SELECT count(*) FROM verdicts")) == 0

    async with database.writing() as session:
        await (await session.connection()).run_sync(migrate)
    cache = DatabaseVerdictCache(database)
    assert await cache.put("key", ANSWER) == ANSWER
