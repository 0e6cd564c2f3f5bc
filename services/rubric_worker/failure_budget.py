"""How much may fail before a job gives up."""

from collections import Counter

from services.judging.questions import JudgeFailure
from services.rubric_worker.job_kinds import JobFailedError
from shared_schemas.evaluations import EvaluationFailure


class FailureBudget:
    """Counts the failures among some items; every kind of job has the same reason for giving up."""

    def __init__(self, num_items: int, *, max_share: float, what: str) -> None:
        """`what` names the items in the plural."""
        self._num_items = num_items
        self._max_share = max_share
        self._what = what
        self._failures: Counter[tuple[str, str]] = Counter()

    def note(self, failure: JudgeFailure) -> None:
        """One more item has failed. Raises `JobFailedError` (`too-many-failures`) when that is too many."""
        self._failures[failure.type.value, failure.detail] += 1
        num_failed = self._failures.total()
        if num_failed <= self._max_share * self._num_items:
            return
        [((slug, detail), num_times)] = self._failures.most_common(1)
        raise JobFailedError(
            EvaluationFailure.TOO_MANY_FAILURES,
            f"{num_failed} of {self._num_items} {self._what} failed, {num_times} of them with “{slug}: {detail}”; "
            "see to that, or raise `max_failed_share`, and ask again: what was answered is remembered",
            evidence={"failures": self._by_type()},
        )

    def _by_type(self) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for (slug, _), count in self._failures.items():
            counts[slug] += count
        return dict(counts)
