"""What the judge tells whoever counts: the seam between judging and metrics.

The one rule: an observer only listens. Nothing here changes an answer.
"""

from enum import StrEnum
from typing import Protocol

from shared_schemas.problems import FailureType


class AnswerSource(StrEnum):
    """Where an answer came from."""

    JUDGE = "judge"
    CACHE = "cache"
    JOINED = "joined"
    """Another caller's call for the same question."""


class JudgeObserver(Protocol):
    """Called on the event loop; must return at once."""

    def call_ended(self, *, replica: str, seconds: float, failure: FailureType | None) -> None:
        """A call to `replica` took `seconds` and ended well (`failure` is none) or badly."""
        ...

    def call_dispatched(self, *, queue_seconds: float) -> None:
        """A call got its slot after waiting `queue_seconds`."""
        ...

    def answered(self, source: AnswerSource, *, label_mass: float | None) -> None:
        """A question was answered; `label_mass` is none without log-probabilities."""
        ...

    def tokens_spent(self, *, prompt: int, completion: int) -> None:
        """A call that reached the judge cost this many tokens."""
        ...


class NullObserver:
    """Listens to nothing."""

    def call_ended(self, *, replica: str, seconds: float, failure: FailureType | None) -> None:
        """Do nothing."""

    def call_dispatched(self, *, queue_seconds: float) -> None:
        """Do nothing."""

    def answered(self, source: AnswerSource, *, label_mass: float | None) -> None:
        """Do nothing."""

    def tokens_spent(self, *, prompt: int, completion: int) -> None:
        """Do nothing."""
