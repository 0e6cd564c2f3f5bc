"""How much it matters which image is shown first: both orders of every pair, each for itself.

The one rule: single orders have no tie margin. Half an answer counts half: a judge that gives both labels the same
probability.
"""

from dataclasses import dataclass

import numpy as np

from services.rubric_worker.evaluation.intervals import Bootstrap, wilson
from services.rubric_worker.evaluation.table import Table
from shared_schemas.evaluations import Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderFigures:
    """As in `RubricReport`; all of them none for images that are scored one by one."""

    forward: Estimate | None = None
    reverse: Estimate | None = None
    position_gap: float | None = None
    first_share: Estimate | None = None
    consistency: Estimate | None = None
    accuracy_if_consistent: float | None = None


def order_figures(table: Table, bootstrap: Bootstrap) -> OrderFigures:
    """Forward and reverse accuracy over pairs with a preference; first share and consistency over all."""
    named = [opinion.names_shown_first for opinion in table.opinions if opinion.names_shown_first is not None]
    if len(named) < len(table.opinions):
        return OrderFigures()
    first_first, second_first = np.array(named, dtype=np.float64).T
    people_prefer_first, labels = table.labels == 1, table.labels
    forward = np.where(labels == 0, np.nan, np.where(people_prefer_first, first_first, second_first))
    reverse = np.where(labels == 0, np.nan, 1 - np.where(people_prefer_first, second_first, first_first))
    consistent = np.array([bool(opinion.consistent) for opinion in table.opinions])
    of_consistent = table.right[consistent & table.preferring]
    accuracy_forward, accuracy_reverse = bootstrap.mean(forward), bootstrap.mean(reverse)
    return OrderFigures(
        forward=accuracy_forward,
        reverse=accuracy_reverse,
        position_gap=_gap(accuracy_forward, accuracy_reverse),
        first_share=wilson(first_first.sum() + second_first.sum(), 2 * len(named)),
        consistency=bootstrap.mean(consistent.astype(np.float64)),
        accuracy_if_consistent=float(of_consistent.mean()) if len(of_consistent) else None,
    )


def _gap(forward: Estimate | None, reverse: Estimate | None) -> float | None:
    return None if forward is None or reverse is None else forward.value - reverse.value
