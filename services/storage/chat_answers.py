"""The chat cache kept in the database: what models wrote survives a restart.

Owns rows; what a key is made of and how an answer is written down belongs to `services.judging`. The one rule: the
first answer stored under a key is everybody's answer, and a row that is damaged is a row that is not there.
"""

import logging
from datetime import UTC, datetime

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from services.judging.chat_cache import ChatAnswer, decode_chat_answer, encode_chat_answer
from services.storage.database import Database
from services.storage.tables import ChatAnswerRow

_log = logging.getLogger(__name__)


class DatabaseChatCache:
    """A `services.judging.chat_cache.ChatCache` over the `chat_answers` table.

    Answers are few and come seconds apart, so each has a transaction of its own.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, key: str) -> ChatAnswer | None:
        """The stored answer, if there is one."""
        async with self._database.reading() as session:
            return await _read(session, key)

    async def put(self, key: str, answer: ChatAnswer) -> ChatAnswer:
        """Store `answer` unless the key has one; returns the stored one."""
        row = {"key": key, "answer": encode_chat_answer(key, answer), "created": datetime.now(UTC)}
        async with self._database.writing() as session:
            insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
            await session.execute(
                insert(ChatAnswerRow).values(row).on_conflict_do_nothing(index_elements=[ChatAnswerRow.key])
            )
            stored = await _read(session, key)
            if stored is None:
                await session.execute(update(ChatAnswerRow), [row])
        return stored or answer


async def _read(session: AsyncSession, key: str) -> ChatAnswer | None:
    encoded = await session.scalar(select(ChatAnswerRow.answer).where(ChatAnswerRow.key == key))
    answer = None if encoded is None else decode_chat_answer(key, encoded)
    if encoded is not None and answer is None:
        _log.warning("stored answer %s is damaged and will be written again", key)
    return answer
