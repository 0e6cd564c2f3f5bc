"""What a method has found out so far, written down as it goes: when the job fails, its evidence."""

from dataclasses import dataclass

from shared_schemas.autorubric import SparseSelection
from shared_schemas.learning import ProposalCounts

NO_PROPOSALS = ProposalCounts(
    proposed=0, verified_at_once=0, verified_after_revision=0, discarded=0, refused_criteria=0
)


@dataclass(kw_only=True, slots=True)
class Findings:
    """What is known so far; when the job fails, its evidence."""

    proposals: ProposalCounts = NO_PROPOSALS
    num_candidates: int = 0
    num_selected: int = 0
    structured: bool = False
    structure_problem: str | None = None
    sparse: SparseSelection | None = None
    """How weights came about, for methods that weigh."""
