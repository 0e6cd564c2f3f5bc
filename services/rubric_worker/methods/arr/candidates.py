"""The criteria that were verified, each once, with what they were verified on.

Owns when two of them say the same. The one rule: of several that do, the first stays, and speaks for all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.judging.writing import ProposedCriterion
from services.rubric_worker.methods.arr.attempts import Attempt
from services.rubric_worker.methods.embeddings import SAME_COSINE, Matrix
from services.rubric_worker.methods.labels import Shown
from services.rubric_worker.methods.lint import normalised


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One verified criterion."""

    criterion: ProposedCriterion
    held_on: frozenset[Shown]
    """What the sets it came in were right on."""

    @property
    def support(self) -> int:
        """On how much it was verified."""
        return len(self.held_on)


def collect(attempts: Sequence[Attempt]) -> tuple[Candidate, ...]:
    """The criteria of all verified attempts, equal statements once."""
    found: dict[str, Candidate] = {}
    for attempt in attempts:
        if attempt.verification is None or not attempt.verification.passed:
            continue
        for criterion in attempt.criteria:
            new = Candidate(criterion=criterion, held_on=attempt.verification.held_on)
            text = normalised(criterion.statement)
            found[text] = _joined(found[text], new) if text in found else new
    return tuple(found.values())


def without_likes(candidates: Sequence[Candidate], vectors: Matrix) -> tuple[tuple[Candidate, ...], list[int]]:
    """The candidates that say something of their own by their `vectors` [n, d], and where they stood."""
    closeness = vectors @ vectors.T
    merged: dict[int, Candidate] = {}
    for place, candidate in enumerate(candidates):
        kept = list(merged)
        closest = kept[int(np.argmax(closeness[place, kept]))] if kept else None
        if closest is not None and closeness[place, closest] >= SAME_COSINE:
            merged[closest] = _joined(merged[closest], candidate)
        else:
            merged[place] = candidate
    return tuple(merged.values()), list(merged)


def _joined(candidate: Candidate, other: Candidate) -> Candidate:
    return Candidate(criterion=candidate.criterion, held_on=candidate.held_on | other.held_on)
