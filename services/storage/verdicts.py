"""The verdict cache kept in the database: judge answers that survive a restart.

Owns rows and their integrity; what a key is made of and what an answer means belongs to `services.judging`. The one
rule: the first answer stored under a key is everybody's answer, and a row that is damaged is a row that is not there.
"""

import dataclasses
import hashlib
import logging
from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import Insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from services.judging.cache import LabelAnswer
from services.storage.database import Database
from services.storage.tables import VerdictRow

_log = logging.getLogger(__name__)


class DatabaseVerdictCache:
    """A `services.judging.cache.VerdictCache` over the `verdicts` table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get_many(self, keys: Iterable[str]) -> dict[str, LabelAnswer]:
        """The stored answers of those keys that have one."""
        async with self._database.reading() as session:
            rows = await session.scalars(select(VerdictRow).where(VerdictRow.key.in_(list(keys))))
            return {row.key: _answer(row) for row in rows if _is_intact(row)}

    async def put(self, key: str, answer: LabelAnswer) -> LabelAnswer:
        """Store `answer` unless the key has one; returns the stored one."""
        async with self._database.writing() as session:
            stored = await session.scalar(_insert(session).values(_values(key, answer)).returning(VerdictRow.key))
            if stored is not None:
                return answer
            row = await session.get_one(VerdictRow, key)
            if not _is_intact(row):
                for column, value in _values(key, answer).items():
                    setattr(row, column, value)
            return _answer(row)


def _insert(session: AsyncSession) -> Insert:
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(VerdictRow).on_conflict_do_nothing(index_elements=[VerdictRow.key])
    return sqlite.insert(VerdictRow).on_conflict_do_nothing(index_elements=[VerdictRow.key])


def _values(key: str, answer: LabelAnswer) -> dict[str, object]:
    return {
        "key": key,
        "log_p_first": answer.log_p_first,
        "log_p_second": answer.log_p_second,
        "label_mass": answer.label_mass,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "checksum": _checksum(key, answer),
        "created": datetime.now(UTC),
    }


def _answer(row: VerdictRow) -> LabelAnswer:
    return LabelAnswer(
        log_p_first=row.log_p_first,
        log_p_second=row.log_p_second,
        label_mass=row.label_mass,
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
    )


def _is_intact(row: VerdictRow) -> bool:
    intact = row.checksum == _checksum(row.key, _answer(row))
    if not intact:
        _log.warning("stored verdict %s is damaged and will be judged again", row.key)
    return intact


def _checksum(key: str, answer: LabelAnswer) -> str:
    """Binds the numbers to their key, so that a row moved under another key is found out."""
    return hashlib.sha256(repr((key, *dataclasses.astuple(answer))).encode()).hexdigest()
