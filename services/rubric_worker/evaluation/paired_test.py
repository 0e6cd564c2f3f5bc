"""Is one judge more accurate than another on the same labelled pairs? A one-sided paired test.

Pairs of one prompt are not independent, so each prompt counts once, by the mean over its pairs of
(A is right) − (B is right). If both were equally good, the sign of every such mean would be as likely plus as minus:
the p-value is the share of all sign patterns whose mean is at least as large as the one observed (Fisher's
randomisation test, 1935). All patterns are tried for up to `MAX_EXACT` prompts, random ones beyond.

The one rule: the observed pattern is one of those it is compared with, so no p-value is ever 0 (Phipson & Smyth 2010).
"""

from collections.abc import Hashable, Sequence
from itertools import product

import numpy as np

from services.rubric_worker.evaluation.columns import Numbers

MAX_EXACT = 12
"""Prompts with a difference up to which all 2ⁿ sign patterns are tried: 4096 of them."""

NUM_FLIPS = 9_999
"""Random patterns beside the observed one; the smallest p-value is 1/10,000."""

_ROUNDING = 1e-9
"""Sums that are equal on paper differ by less."""

_NUMBERS_AT_ONCE = 1 << 20
"""Eight megabytes of signs."""


def paired_p_value(
    a: Sequence[float], b: Sequence[float], clusters: Sequence[Hashable], *, seed: int, num_flips: int = NUM_FLIPS
) -> float:
    """How likely A's lead over B would be if both were equally accurate; small = A is more accurate.

    `a` and `b` are [N] how right each is on each pair (1, ½ or 0), `clusters` [N] which pairs belong together. Above 0
    up to 1, and 1 without any difference; "is B better than A" is another question: swap the arguments.
    """
    differences = cluster_means(np.subtract(a, b, dtype=np.float64), clusters)
    differences = differences[np.abs(differences) > _ROUNDING]  # a sign makes no difference to 0
    observed = differences.sum() - _ROUNDING
    if len(differences) <= MAX_EXACT:
        patterns = np.array(list(product((1.0, -1.0), repeat=len(differences))))
        return float(np.mean(patterns @ differences >= observed))
    num_as_large, generator = 0, np.random.default_rng(seed)
    portion = max(1, _NUMBERS_AT_ONCE // len(differences))
    for start in range(0, num_flips, portion):
        shape = (min(portion, num_flips - start), len(differences))
        signs = generator.integers(0, 2, size=shape, dtype=np.int8) * 2.0 - 1.0
        num_as_large += int(np.sum(signs @ differences >= observed))
    return (1 + num_as_large) / (1 + num_flips)


def cluster_means(values: Numbers, clusters: Sequence[Hashable]) -> Numbers:
    """[C] the mean of `values` [N] over each cluster, in the order in which the clusters first appear."""
    places = {cluster: place for place, cluster in enumerate(dict.fromkeys(clusters))}
    of_value = [places[cluster] for cluster in clusters]
    sums = np.bincount(of_value, weights=values, minlength=len(places))
    means: Numbers = sums / np.bincount(of_value, minlength=len(places))
    return means
