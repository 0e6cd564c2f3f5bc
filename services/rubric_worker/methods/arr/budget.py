"""How much may fail before the job gives up."""

from collections import Counter

from services.judging.questions import JudgeFailure
from services.rubric_worker.job_kinds import JobFailedError
from shared_schemas.learning import LearnFailure


class FailureBudget:
    """How much may fail before the job gives up."""

    def __init__(self, num_items: int, *, max_share: float, what: str) -> None:
        """`what` names the items in the plural."""
        self._num_items = num_items
        self._max_share = max_share
        self._what = what
        self._failures: Counter[str] = Counter()

    def note(self, failure: JudgeFailure) -> None:
        """One more item has failed. Raises `JobFailedError` (`too-many-failures`) when that is too many."""
        self._failures[f"{failure.type.value}: {failure.detail}"] += 1
        num_failed = self._failures.total()
        if num_failed > self._max_share * self._num_items:
            [(commonest, num_times)] = self._failures.most_common(1)
            raise JobFailedError(
                LearnFailure.TOO_MANY_FAILURES,
                f"{num_failed} of {self._num_items} {self._what} failed, {num_times} of them with “{commonest}”; "
                "see to that, or raise `max_failed_share`, and ask again: what was answered is remembered",
            )
