"""The verdict cache: raw answers under judgement keys.

Owns the interface and an in-memory implementation; a lasting one lives with the database. Refuses to hold rewards, ties
or thresholds: those are computed when an answer is read, so changing a setting never asks the judge again.

The one rule: the first answer stored under a key is everybody's answer. Failures are never stored.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

from services.judging.answers import Answer


class VerdictCache(Protocol):
    """Where answers are kept."""

    async def get_many(self, keys: Sequence[str]) -> dict[str, Answer]:
        """The stored answers of those keys that have one."""
        ...

    async def put(self, key: str, answer: Answer) -> Answer:
        """Store `answer` unless the key has one; returns the stored one."""
        ...


class MemoryVerdictCache:
    """A `VerdictCache` that forgets the least recently used answer beyond `max_entries`, and all of them at exit."""

    def __init__(self, *, max_entries: int = 100_000) -> None:
        if max_entries < 1:
            raise ValueError(f"max_entries must be at least 1, got {max_entries}")
        self._max_entries = max_entries
        self._answers: OrderedDict[str, Answer] = OrderedDict()

    async def get_many(self, keys: Sequence[str]) -> dict[str, Answer]:
        """The stored answers of those keys that have one."""
        found = {key: self._answers[key] for key in keys if key in self._answers}
        for key in found:
            self._answers.move_to_end(key)
        return found

    async def put(self, key: str, answer: Answer) -> Answer:
        """Store `answer` unless the key has one; returns the stored one."""
        stored = self._answers.setdefault(key, answer)
        self._answers.move_to_end(key)
        if len(self._answers) > self._max_entries:
            self._answers.popitem(last=False)
        return stored
