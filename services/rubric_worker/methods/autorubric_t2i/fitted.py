"""The set that one round arrives at: the kept criteria with their weights, and how well they do.

Owns the way from numbers to a rubric set and to what is told about it. The one rule: criteria stand by weight, largest
first, and their ids are those of the candidates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.judging.writing import Assignment
from services.rubric_worker.evaluation.columns import Numbers
from services.rubric_worker.evaluation.separation import redundancy
from services.rubric_worker.methods.autorubric_t2i.selection import Selection, spread
from services.rubric_worker.methods.autorubric_t2i.stable_set import StableSet
from services.rubric_worker.methods.statements import rubric_of
from shared_schemas.autorubric import LearningRound, PathPoint, SparseSelection, WeighedCriterion
from shared_schemas.rubrics import Criterion, RubricContent

_DIGITS = 6
"""Of what is told."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """One round's fit, and the criteria that it is about."""

    round_number: int
    criteria: tuple[Criterion, ...]
    """All candidates of the round."""
    selection: Selection
    differences: Numbers
    """[pairs, candidates]"""

    @property
    def kept(self) -> tuple[Criterion, ...]:
        """The Top-N with their weights."""
        return self.weighed(self.selection.kept, self.selection.weights)

    def weighed(self, places: Sequence[int], weights: Numbers) -> tuple[Criterion, ...]:
        """These candidates with their `weights` [candidates]."""
        return tuple(self.criteria[place].model_copy(update={"weight": float(weights[place])}) for place in places)

    def content(self, about: Assignment) -> RubricContent:
        """What would be published."""
        return rubric_of(self.kept, about=about)

    def told(
        self, places: Sequence[int], *, stable: StableSet | None, weights: Numbers | None = None
    ) -> tuple[WeighedCriterion, ...]:
        """What is told about these candidates; `weights` [candidates] are those of the fit unless given."""
        weights = self.selection.weights if weights is None else weights
        answered = self.selection.block.answered_shares
        return tuple(
            WeighedCriterion(
                id=criterion.id,
                theme=criterion.theme,
                statement=" ".join(criterion.tips),
                weight=float(weights[place]),
                stability=None if stable is None else round(float(stable.shares[place]), _DIGITS),
                answered_share=round(float(answered[place]), _DIGITS),
            )
            for place in places
            for criterion in [self.criteria[place]]
        )

    def path(self, places: Sequence[int]) -> tuple[PathPoint, ...]:
        """The weights of these candidates along the path."""
        path, left_out, columns = self.selection.path, self.selection.path.left_out, self.selection.block.columns
        return tuple(
            PathPoint(
                c=round(float(c), _DIGITS),
                num_nonzero=int(np.count_nonzero(weights)),
                weights={self.criteria[place].id: float(weight[place]) for place in places if weight[place]},
                loss=None if left_out is None else round(float(left_out.loss[step]), _DIGITS),
                standard_error=None if left_out is None else round(float(left_out.standard_error[step]), _DIGITS),
            )
            for step, (c, weights) in enumerate(zip(path.c, path.weights, strict=True))
            for weight in [spread(weights, columns)]
        )

    def redundancy(self) -> tuple[tuple[float, ...], ...]:
        """Kept × kept: correlation of score differences."""
        correlations = redundancy(self.differences[:, list(self.selection.kept)])
        return tuple(tuple(round(correlation, _DIGITS) for correlation in row) for row in correlations)


def sparse_selection(
    fitted: Fitted,
    rounds: Sequence[LearningRound],
    *,
    stable: StableSet | None = None,
    stable_accuracy: float | None = None,
) -> SparseSelection:
    """All that is told about a learned set, `fitted` in the best of the `rounds`."""
    selection, block = fitted.selection, fitted.selection.block
    worth_a_look = sorted({*selection.kept, *selection.negative, *(stable.places if stable else ())})
    return SparseSelection(
        rounds=tuple(rounds),
        best_round=fitted.round_number,
        path=fitted.path(worth_a_look),
        kept=fitted.told(selection.kept, stable=stable),
        negative=fitted.told(selection.negative, stable=stable),
        stable=None if stable is None else fitted.told(stable.places, stable=stable, weights=stable.weights),
        stable_accuracy=stable_accuracy,
        dropped=fitted.told([int(place) for place in np.flatnonzero(~block.columns)], stable=stable),
        redundancy=fitted.redundancy(),
        num_pairs=len(block.rows),
        num_pairs_left_out=int(np.sum(~block.rows)),
    )
