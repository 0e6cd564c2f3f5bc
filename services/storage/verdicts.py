"""The verdict cache kept in the database: judge answers that survive a restart.

Owns rows; what a key is made of, what an answer means and how it is written down belongs to `services.judging`. The one
rule: the first answer stored under a key is everybody's answer, and a row that is damaged is a row that is not there.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice

from sqlalchemy import Insert, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from services.judging.answers import Answer, decode_answer, encode_answer
from services.storage.database import Database
from services.storage.grouping import Grouped
from services.storage.tables import VerdictRow

_KEYS_PER_STATEMENT = 500
"""Below the 999 variables that every SQLite takes in one statement."""

_READERS_PER_GROUP = 100
"""One with few keys shall not wait long for many with many."""

_READ = select(VerdictRow.key, VerdictRow.answer).where(VerdictRow.key.in_(bindparam("keys", expanding=True)))
"""Built once: putting a statement together takes longer than running it."""

_log = logging.getLogger(__name__)


class DatabaseVerdictCache:
    """A `services.judging.cache.VerdictCache` over the `verdicts` table.

    A transaction costs as much as some thirty rows in it, so all who read or write at the same time share one.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reads = Grouped(self._read_all, max_items=_READERS_PER_GROUP)
        self._writes = Grouped(self._store_all, max_items=_KEYS_PER_STATEMENT)

    async def get_many(self, keys: Sequence[str]) -> dict[str, Answer]:
        """The stored answers of those keys that have one."""
        return await self._reads.do(keys)

    async def put(self, key: str, answer: Answer) -> Answer:
        """Store `answer` unless the key has one; returns the stored one. A caller that leaves takes nothing back."""
        return await self._writes.do((key, answer))

    async def aclose(self) -> None:
        """Return when everything handed in is stored; call it before the database is closed."""
        await self._writes.drain()
        await self._reads.drain()

    async def _read_all(self, readers: Sequence[Sequence[str]]) -> list[dict[str, Answer]]:
        async with self._database.reading() as session:
            found = await _read(session, {key for keys in readers for key in keys})
        return [{key: found[key] for key in keys if key in found} for keys in readers]

    async def _store_all(self, entries: Sequence[tuple[str, Answer]]) -> list[Answer]:
        answers = dict(reversed(entries))  # the first of several for one key
        # In one order everywhere, so that transactions on a server may wait for each other, but never in a ring.
        rows = [_row(key, answers[key]) for key in sorted(answers)]
        async with self._database.writing() as session:
            await session.execute(_insert_new(session), rows)
            stored = await _read(session, answers)
            damaged = [row for row in rows if row["key"] not in stored]
            if damaged:
                await session.execute(update(VerdictRow), damaged)
        return [stored.get(key, answers[key]) for key, _ in entries]


async def _read(session: AsyncSession, keys: Iterable[str]) -> dict[str, Answer]:
    """The intact answers among `keys`."""
    found: dict[str, Answer] = {}
    rest = iter(keys)
    while some := list(islice(rest, _KEYS_PER_STATEMENT)):
        for key, encoded in await session.execute(_READ, {"keys": some}):
            answer = decode_answer(key, encoded)
            if answer is None:
                _log.warning("stored verdict %s is damaged and will be judged again", key)
            else:
                found[key] = answer
    return found


def _insert_new(session: AsyncSession) -> Insert:
    """An insert that leaves existing keys alone."""
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(VerdictRow).on_conflict_do_nothing(index_elements=[VerdictRow.key])
    return sqlite.insert(VerdictRow).on_conflict_do_nothing(index_elements=[VerdictRow.key])


def _row(key: str, answer: Answer) -> dict[str, object]:
    return {"key": key, "answer": encode_answer(key, answer), "created": datetime.now(UTC)}
