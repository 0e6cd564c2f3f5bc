"""The database's clock: the one that all its clients share.

Owns asking for it. The one rule: what several processes compare (leases) is measured by this clock, never by their own.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from services.storage.tables import UtcDateTime


class _Now(FunctionElement[datetime]):
    """The present, also within a transaction that began earlier."""

    type = UtcDateTime()
    inherit_cache = True


@compiles(_Now)
def _standard(_element: _Now, _compiler: SQLCompiler, **_options: Any) -> str:
    return "clock_timestamp()"  # PostgreSQL; its `now()` is the beginning of the transaction


@compiles(_Now, "sqlite")
def _sqlite(_element: _Now, _compiler: SQLCompiler, **_options: Any) -> str:
    return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"  # SQLAlchemy's notation: microseconds; SQLite counts milliseconds


async def database_now(session: AsyncSession) -> datetime:
    """What time it is for the database (UTC)."""
    return (await session.execute(select(_Now()))).scalar_one()
