"""The regularisation path: weights at every strength of the penalty, and the point on it that is taken."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.rubric_worker.evaluation.columns import Numbers
from services.rubric_worker.methods.autorubric_t2i.cross_validation import (
    LeftOut,
    cross_validate,
    grid,
    sparsest_as_good,
)
from services.rubric_worker.methods.autorubric_t2i.sparse_logistic import fit
from shared_schemas.autorubric import AutoRubricParameters

DECIMALS = 4
"""Of weights: far more than they are certain to, and less than a solver's rounding."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RegularisationPath:
    """Weights of p criteria."""

    c: Numbers
    """[c] inverse strengths, ascending."""
    weights: Numbers
    """[c, p] rounded."""
    left_out: LeftOut | None
    """Loss of left-out pairs along the path; none for a fixed strength."""
    chosen_c: float
    """The inverse strength that is taken."""
    chosen: Numbers
    """[p] the weights there."""


def weigh(
    differences: Numbers, clusters: Sequence[str], options: AutoRubricParameters, *, seed: int
) -> RegularisationPath:
    """The path for `differences` [n, p] without gaps; `clusters` [n] are the prompts. Raises `UnsolvedError`."""
    whole = grid(options.c_lowest, options.c_highest, options.c_steps)
    if options.c is not None:
        weights = _along(differences, whole, seed=seed)
        [chosen] = _along(differences, np.array([options.c]), seed=seed)
        return RegularisationPath(c=whole, weights=weights, left_out=None, chosen_c=options.c, chosen=chosen)
    left_out = cross_validate(differences, clusters, grid=whole, folds=options.folds, seed=seed)
    weights = _along(differences, left_out.c, seed=seed)
    start = sparsest_as_good(left_out, one_standard_error=options.one_standard_error)
    place = start + int(np.argmax((weights[start:] > 0).any(axis=1)))  # the next that keeps something, if any does
    return RegularisationPath(
        c=left_out.c,
        weights=weights,
        left_out=left_out,
        chosen_c=float(left_out.c[place]),
        chosen=weights[place],
    )


def _along(differences: Numbers, values: Numbers, *, seed: int) -> Numbers:
    return np.round([fit(differences, c=float(c), seed=seed) for c in values], DECIMALS)
