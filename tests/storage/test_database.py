import asyncio
from itertools import count

import pytest
from alembic import command
from sqlalchemy import Connection, text

from services.storage.database import Database, alembic_config


async def test_the_migrations_build_exactly_the_declared_tables(database: Database) -> None:
    def check(connection: Connection) -> None:
        command.check(alembic_config(connection))

    async with database.writing() as session:
        await (await session.connection()).run_sync(check)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_sqlite_runs_with_wal_and_enforces_foreign_keys(database: Database) -> None:
    async with database.reading() as session:
        assert await session.scalar(text("PRAGMA journal_mode")) == "wal"
        assert await session.scalar(text("PRAGMA foreign_keys")) == 1
        assert await session.scalar(text("PRAGMA busy_timeout")) == 10_000


async def test_processes_that_start_together_migrate_once(database_url: str) -> None:
    databases = await asyncio.gather(*(Database.open(database_url) for _ in range(4)))
    for database in databases:
        await database.ping()
        await database.close()


async def test_an_exception_rolls_back_what_was_written(database: Database) -> None:
    insert = text("INSERT INTO verdicts (key, answer, created) VALUES ('a', 'b', '2026-01-01 00:00:00')")
    try:
        async with database.writing() as session:
            await session.execute(insert)
            raise LookupError
    except LookupError:
        pass
    async with database.reading() as session:
        assert await session.scalar(text("SELECT count(*) FROM verdicts")) == 0


async def test_a_writer_that_is_cancelled_keeps_no_lock(database: Database) -> None:
    insert = text("INSERT INTO verdicts (key, answer, created) VALUES (:key, 'b', '2026-01-01 00:00:00')")
    keys = count()

    async def write() -> None:
        async with database.writing() as session:
            await session.execute(insert, {"key": str(next(keys))})
            await session.execute(text("SELECT count(*) FROM verdicts"))

    for num_turns in range(60):  # of the event loop, after which the writer is cancelled: somewhere in its transaction
        cancelled, other = asyncio.create_task(write()), asyncio.create_task(write())
        for _ in range(num_turns):
            await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        await asyncio.wait_for(other, 5)
        await asyncio.wait_for(write(), 5)
