"""How strong the penalty should be: tried on pairs that are left out, and the strongest taken that is as good as any.

Owns the grid, the parts and the rule. The one rule: prompts never stand in two parts, and which part one is in does not
depend on the order of the rows.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.rubric_worker.evaluation.columns import Flags, Numbers
from services.rubric_worker.methods.autorubric_t2i.sparse_logistic import MIN_ROWS, fit, losses

Places: TypeAlias = NDArray[np.integer[Any]]
"""[n] small whole numbers."""

_CLEARLY_WORSE = 3.0
"""Standard errors above the least loss from which on weaker penalties are not tried: they overfit, and take longest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """How well weights do on pairs that they were not fitted to, for each strength of the penalty that was tried."""

    c: Numbers
    """[c] inverse strengths, ascending: the grid, as far as it was worth trying."""
    loss: Numbers
    """[c] mean loss, nats."""
    standard_error: Numbers
    """[c] of the mean over the parts."""


def grid(lowest: float, highest: float, steps: int) -> Numbers:
    """[steps] inverse strengths, ascending, evenly spaced on a logarithmic scale."""
    values: Numbers = np.geomspace(lowest, highest, steps)
    return values


def cross_validate(differences: Numbers, clusters: Sequence[str], *, grid: Numbers, folds: int, seed: int) -> LeftOut:
    """Fit to all parts but one, look at that one, for every part, and for strengths until the loss is clearly worse.

    Raises `UnsolvedError`.
    """
    part_of = parts(clusters, num_parts=folds, seed=seed)
    means: list[float] = []
    errors: list[float] = []
    for c in grid:
        of_parts = [_left_out_loss(differences, part_of == part, c=float(c), seed=seed) for part in np.unique(part_of)]
        means.append(float(np.mean(of_parts)))
        errors.append(float(np.std(of_parts, ddof=1)) / len(of_parts) ** 0.5)
        best = int(np.argmin(means))
        if means[-1] > means[best] + _CLEARLY_WORSE * errors[best]:
            break
    return LeftOut(c=grid[: len(means)], loss=np.array(means), standard_error=np.array(errors))


def parts(clusters: Sequence[str], *, num_parts: int, seed: int) -> Places:
    """[n] the part of each of n ≥ 4 rows, 0 … `num_parts` − 1; fewer clusters make fewer parts.

    Clusters are shuffled by the seed and each goes to the smallest part. Where that leaves less than two rows outside
    of a part, rows are shared out instead.
    """
    sizes = Counter(clusters)
    names = sorted(sizes)
    filled = dict.fromkeys(range(min(num_parts, len(names))), 0)
    part_of: dict[str, int] = {}
    for place in np.random.default_rng(seed).permutation(len(names)):
        smallest = min(filled, key=lambda part: filled[part])
        part_of[names[place]] = smallest
        filled[smallest] += sizes[names[place]]
    if len(clusters) - max(filled.values()) < MIN_ROWS:
        return np.arange(len(clusters)) % min(num_parts, len(clusters))
    return np.array([part_of[cluster] for cluster in clusters])


def sparsest_as_good(left_out: LeftOut, *, one_standard_error: bool) -> int:
    """Place of the strongest penalty whose loss is within one standard error of the least, or of the least itself."""
    best = int(np.argmin(left_out.loss))
    if not one_standard_error:
        return best
    bound = left_out.loss[best] + left_out.standard_error[best]
    return int(np.argmax(left_out.loss <= bound))


def _left_out_loss(differences: Numbers, is_left_out: Flags, *, c: float, seed: int) -> float:
    weights = fit(differences[~is_left_out], c=c, seed=seed)
    return float(losses(differences[is_left_out], weights).mean())
