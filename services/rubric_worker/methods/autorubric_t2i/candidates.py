"""All criteria that there are so far, each once.

Owns their ids. The one rule: ids depend on the order in which criteria came and on nothing else, so that they are the
same in every round, and whatever is selected.
"""

import asyncio
from collections.abc import Sequence

import numpy as np

from services.judging.writing import ProposedCriterion
from services.rubric_worker.methods.embeddings import SAME_COSINE, Embedder, Matrix
from services.rubric_worker.methods.lint import lint, normalised
from services.rubric_worker.methods.statements import one_by_one
from shared_schemas.rubrics import Criterion


class Candidates:
    """Criteria in the order in which they came."""

    def __init__(self, embedder: Embedder, *, max_candidates: int) -> None:
        self._embedder = embedder
        self._max_candidates = max_candidates
        self._written: list[ProposedCriterion] = []
        self.num_refused = 0
        """Criteria that the lint refused, or of which there was an equal one in the same portion."""

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """As a rubric set has them, of weight 1."""
        return one_by_one(self._written)

    @property
    def ids(self) -> tuple[str, ...]:
        """Of all criteria."""
        return tuple(criterion.id for criterion in self.criteria)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._written)

    async def add(self, written: Sequence[ProposedCriterion]) -> int:
        """Add those that say something new; returns their number. Raises what the embedder raises."""
        linted = lint(written)
        self.num_refused += linted.num_refused
        said = {normalised(criterion.statement) for criterion in self._written}
        unsaid = [criterion for criterion in linted.kept if normalised(criterion.statement) not in said]
        if not unsaid:
            return 0
        together = [*self._written, *unsaid]
        vectors = await self._embedder.embed([criterion.statement for criterion in together])
        new = await asyncio.to_thread(saying_something_new, vectors, num_known=len(self._written))
        room = self._max_candidates - len(self._written)
        self._written += [together[place] for place in new[:room]]
        return len(new[:room])


def saying_something_new(vectors: Matrix, *, num_known: int) -> list[int]:
    """Places of those rows of `vectors` [n, d] after the first `num_known` that are like none before that is kept."""
    closeness = vectors @ vectors.T
    kept = list(range(num_known))
    for place in range(num_known, len(vectors)):
        if not kept or np.max(closeness[place, kept]) < SAME_COSINE:
            kept.append(place)
    return kept[num_known:]
