import asyncio
from dataclasses import replace

from alembic import command
from sqlalchemy import Connection, inspect, text

from services.judging.chat_cache import ChatAnswer
from services.storage.chat_answers import DatabaseChatCache
from services.storage.database import Database, alembic_config

ANSWER = ChatAnswer(text='{"name": "red"}', prompt_tokens=700, completion_tokens=20)
LATER = replace(ANSWER, prompt_tokens=1)


async def test_answers_survive_the_process(database: Database, database_url: str) -> None:
    await DatabaseChatCache(database).put("key", ANSWER)
    later = await Database.open(database_url)
    assert await DatabaseChatCache(later).get("key") == ANSWER
    await later.close()


async def test_two_processes_that_write_at_once_agree(database_url: str) -> None:
    databases = [await Database.open(database_url) for _ in range(2)]
    caches = [DatabaseChatCache(database) for database in databases]
    stored = await asyncio.gather(
        *(
            caches[writer].put(f"key {number}", replace(ANSWER, prompt_tokens=writer))
            for number in range(10)
            for writer in (0, 1)
        )
    )
    assert stored[0::2] == stored[1::2]
    for database in databases:
        await database.close()


async def test_a_damaged_row_is_not_there_and_is_written_anew(database: Database) -> None:
    cache = DatabaseChatCache(database)
    for key in "ab":
        await cache.put(key, ANSWER)
    async with database.writing() as session:
        await session.execute(text("UPDATE chat_answers SET answer = '[]' WHERE key = 'a'"))
    assert await cache.get("a") is None
    assert [await cache.put(key, LATER) for key in "ab"] == [LATER, ANSWER]
    assert [await cache.get(key) for key in "ab"] == [LATER, ANSWER]


async def test_an_answer_moved_under_another_key_is_not_there(database: Database) -> None:
    cache = DatabaseChatCache(database)
    await cache.put("key", ANSWER)
    async with database.writing() as session:
        await session.execute(text("UPDATE chat_answers SET key = 'stolen'"))
    assert await cache.get("stolen") is None


async def test_the_migration_can_be_undone(database: Database) -> None:
    def migrate(connection: Connection) -> None:
        config = alembic_config(connection)
        command.downgrade(config, "0005")
        assert "chat_answers" not in inspect(connection).get_table_names()
        command.upgrade(config, "head")

    async with database.writing() as session:
        await (await session.connection()).run_sync(migrate)
    assert await DatabaseChatCache(database).put("key", ANSWER) == ANSWER
