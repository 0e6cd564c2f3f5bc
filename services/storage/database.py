"""The connection to the database: opening, migrating, and the two kinds of transaction.

Owns engine settings and schema migration; queries live in the repositories. The one rule: whoever may write opens
`writing()`, because an SQLite transaction that turns from reader into writer cannot wait for its turn.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from datetime import timedelta
from typing import Any, Self

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Connection, event, make_url, text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

BUSY_TIMEOUT = timedelta(seconds=10)
"""How long a writer waits for another writer before the statement fails."""

_MIGRATION_LOCK = 0x6172725F6D696772  # "arr_migr"
"""PostgreSQL's number for "somebody migrates"; processes that start together do so one after the other."""

_BEGIN_MODE = "sqlite_begin_mode"


_CONNECT_TIMEOUT = timedelta(seconds=10)
"""How long a PostgreSQL server may take to accept a connection, unless the URL says otherwise."""


class DatabaseTooNewError(Exception):
    """A newer release has migrated the database; this one does not know what is in it."""


class Database:
    """An open, migrated database."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        # SQLite has one writer at a time anyway; queueing here is fair and holds no connection while it waits.
        self._writers_turn = asyncio.Lock() if engine.dialect.name == "sqlite" else nullcontext()
        self._read = async_sessionmaker(engine.execution_options(**_reading(engine)), expire_on_commit=False)
        self._write = async_sessionmaker(engine.execution_options(**{_BEGIN_MODE: "IMMEDIATE"}), expire_on_commit=False)

    @classmethod
    async def open(cls, url: str) -> Self:
        """Connect to `sqlite+aiosqlite:///…` or `postgresql+psycopg://…` and bring the schema up to date.

        Raises `sqlalchemy.exc.SQLAlchemyError` when the database cannot be reached or migrated, `DatabaseTooNewError`
        when a newer release has been here, `ImportError` without the driver.
        """
        engine = create_async_engine(url, pool_pre_ping=not url.startswith("sqlite"), connect_args=_connect_args(url))
        if engine.dialect.name == "sqlite":
            event.listen(engine.sync_engine, "connect", _configure_sqlite)
            event.listen(engine.sync_engine, "begin", _begin_sqlite)
            event.listen(engine.sync_engine, "invalidate", _roll_back)
        database = cls(engine)
        try:
            async with engine.execution_options(**{_BEGIN_MODE: "IMMEDIATE"}).begin() as connection:
                await connection.run_sync(_migrate)
        except BaseException:
            await database.close()
            raise
        return database

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """A session for queries only: sees one consistent state, blocks nobody."""
        async with self._read() as session:
            yield session

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncSession]:
        """A session in a transaction: committed at the end, rolled back by an exception."""
        async with self._writers_turn, self._write.begin() as session:
            yield session

    async def ping(self) -> None:
        """Raise `sqlalchemy.exc.SQLAlchemyError` unless the database answers a query of its own tables."""
        async with self.reading() as session:
            await session.execute(text("SELECT version_num FROM alembic_version"))

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


def is_readable_url(url: str) -> bool:
    """Whether every part of the URL is where it belongs; an `@` in a password puts half of it into the host's name."""
    try:
        return "@" not in (make_url(url).host or "")
    except (ArgumentError, ValueError):
        return False


def _connect_args(url: str) -> dict[str, object]:
    if url.startswith("sqlite") or "connect_timeout" in make_url(url).query:
        return {}
    return {"connect_timeout": round(_CONNECT_TIMEOUT.total_seconds())}


def _reading(engine: AsyncEngine) -> dict[str, object]:
    """A reader sees one state from its first query to its last, as SQLite's do anyway."""
    if engine.dialect.name != "postgresql":
        return {}
    return {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


def _configure_sqlite(dbapi_connection: Any, _record: object) -> None:
    dbapi_connection.isolation_level = None  # the driver shall not begin transactions on its own: `_begin_sqlite` does
    cursor = dbapi_connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT // timedelta(milliseconds=1)}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")  # with WAL, only a power cut can cost the last commits
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    mode = connection.get_execution_options().get(_BEGIN_MODE, "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {mode}")


def _roll_back(dbapi_connection: Any, _record: object, _error: object) -> None:
    """What a cancelled transaction has locked is free at once, not when the last cursor of its connection is gone."""
    dbapi_connection.rollback()


def _migrate(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _MIGRATION_LOCK})
    try:
        command.upgrade(alembic_config(connection), "head")
    except CommandError as error:  # the only way to come here: the database's revision is none of this release
        raise DatabaseTooNewError("the database was migrated by a newer release, which this one cannot read") from error


def alembic_config(connection: Connection) -> Config:
    """Alembic's settings for the packaged migrations, run on an open connection."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "services.storage:migrations")
    config.set_main_option("path_separator", "os")
    return config
