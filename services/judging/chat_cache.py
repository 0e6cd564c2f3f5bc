"""The chat cache: what was written, under chat keys.

Owns the interface, the encoding of an answer, and an in-memory implementation; a lasting one lives with the database.
Refuses to know shapes: what is stored is JSON text, read by who asked for it.

The one rule: the first answer stored under a key is everybody's answer. Failures are never stored.
"""

from collections import OrderedDict
from dataclasses import asdict, dataclass
from typing import Protocol

from services.judging.sealed import seal, unseal


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatAnswer:
    """What was written once."""

    text: str
    """One JSON document, validated before it was stored."""
    prompt_tokens: int
    """Tokens that were read for it."""
    completion_tokens: int
    """Tokens that were written for it."""


class ChatCache(Protocol):
    """Where answers are kept."""

    async def get(self, key: str) -> ChatAnswer | None:
        """The stored answer, if there is one."""
        ...

    async def put(self, key: str, answer: ChatAnswer) -> ChatAnswer:
        """Store `answer` unless the key has one; returns the stored one."""
        ...


class MemoryChatCache:
    """A `ChatCache` that forgets the least recently used answer beyond `max_entries`, and all of them at exit."""

    def __init__(self, *, max_entries: int = 10_000) -> None:
        if max_entries < 1:
            raise ValueError(f"max_entries must be at least 1, got {max_entries}")
        self._max_entries = max_entries
        self._answers: OrderedDict[str, ChatAnswer] = OrderedDict()

    async def get(self, key: str) -> ChatAnswer | None:
        """The stored answer, if there is one."""
        if key in self._answers:
            self._answers.move_to_end(key)
        return self._answers.get(key)

    async def put(self, key: str, answer: ChatAnswer) -> ChatAnswer:
        """Store `answer` unless the key has one; returns the stored one."""
        stored = self._answers.setdefault(key, answer)
        self._answers.move_to_end(key)
        if len(self._answers) > self._max_entries:
            self._answers.popitem(last=False)
        return stored


def encode_chat_answer(key: str, answer: ChatAnswer) -> str:
    """JSON with the answer, the key it belongs under, and a checksum over both."""
    return seal(key, asdict(answer))


def decode_chat_answer(key: str, text: str | bytes) -> ChatAnswer | None:
    """The answer, or None for anything that `encode_chat_answer(key, …)` did not write."""
    fields = unseal(key, text)
    try:
        return None if fields is None else ChatAnswer(**fields)
    except TypeError:
        return None
