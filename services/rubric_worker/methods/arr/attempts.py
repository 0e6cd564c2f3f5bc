"""How far the criteria of one row have come."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.judging.writing import ProposedCriterion
from services.rubric_worker.methods.arr.verify import Verification
from services.rubric_worker.methods.labels import LearningRow
from shared_schemas.learning import ProposalCounts


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One row, and the criteria that were last written for it."""

    row: LearningRow
    criteria: tuple[ProposedCriterion, ...] = ()
    """Those that the lint let pass; none = the row is given up."""
    verification: Verification | None = None
    """How they did; none = not known yet, or never to be."""
    num_revisions: int = 0
    """Rounds of revision so far."""
    num_refused: int = 0
    """Criteria that the lint refused, in all rounds."""

    @property
    def is_new(self) -> bool:
        """Whether the criteria are still to be verified."""
        return bool(self.criteria) and self.verification is None

    @property
    def was_asked(self) -> bool:
        """Whether the judge was ever asked by criteria of this row: only then are there revisions."""
        return self.verification is not None or self.num_revisions > 0

    @property
    def is_verified(self) -> bool:
        """Whether the criteria hold."""
        return self.verification is not None and self.verification.passed

    @property
    def refutation(self) -> Verification | None:
        """How the criteria failed; none = there is nothing to revise."""
        return None if self.is_verified else self.verification


def counts(attempts: Sequence[Attempt]) -> ProposalCounts:
    """How many rows ended how."""
    verified = [attempt for attempt in attempts if attempt.is_verified]
    at_once = sum(attempt.num_revisions == 0 for attempt in verified)
    return ProposalCounts(
        proposed=len(attempts),
        verified_at_once=at_once,
        verified_after_revision=len(verified) - at_once,
        discarded=len(attempts) - len(verified),
        refused_criteria=sum(attempt.num_refused for attempt in attempts),
    )
