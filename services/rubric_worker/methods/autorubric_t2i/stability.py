"""Stability selection: which criteria are selected again and again, whichever half of the pairs one looks at.

Meinshausen and Bühlmann (2010), with halves instead of bootstrap samples as they recommend: a pair that is drawn twice
makes noise look like a finding. Each half is fitted at the strength at which halves keep so many criteria on average;
that number, not the strength, is what decides how much noise gets through.

The one rule: halves are of prompts, because pairs of one prompt are not independent.
"""

from collections.abc import Sequence

import numpy as np

from services.rubric_worker.evaluation.columns import Flags, Numbers
from services.rubric_worker.methods.autorubric_t2i.sparse_logistic import MIN_ROWS, fit

_NUM_TRIED = 8
"""Halves by which the strength is found."""


def selected_shares(
    differences: Numbers, clusters: Sequence[str], *, grid: Numbers, num_draws: int, mean_size: int, seed: int
) -> Numbers:
    """[p] share of the halves in which each criterion has a positive weight. Raises `UnsolvedError`.

    `grid` ascends; the strength is its last value at which halves keep at most `mean_size` criteria on average.
    """
    halves = [_half(clusters, rng=np.random.default_rng([seed, draw])) for draw in range(num_draws)]

    def selected(c: float, half: Flags) -> Flags:
        return np.asarray(fit(differences[half], c=c, seed=seed) > 0)

    strength = float(grid[0])
    for c in grid:
        if np.mean([selected(float(c), half).sum() for half in halves[:_NUM_TRIED]]) > mean_size:
            break
        strength = float(c)
    shares: Numbers = np.mean([selected(strength, half) for half in halves], axis=0)
    return shares


def _half(clusters: Sequence[str], *, rng: np.random.Generator) -> Flags:
    """[n] which rows are drawn: those of half of the clusters, or half of the rows of a single one; at least two."""
    names = sorted(set(clusters))
    if len(names) // 2 >= MIN_ROWS:
        drawn = {names[place] for place in rng.permutation(len(names))[: len(names) // 2]}
        return np.array([cluster in drawn for cluster in clusters])
    flags = np.zeros(len(clusters), dtype=bool)
    flags[rng.permutation(len(clusters))[: max(MIN_ROWS, len(clusters) // 2)]] = True
    return flags
