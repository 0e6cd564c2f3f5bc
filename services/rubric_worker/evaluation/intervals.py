"""95 % intervals: of means over pairs that hang together by their prompt, and of plain shares.

The one rule: equal seeds give equal intervals, and every interval of one evaluation comes from the same draws, so that
two of them can be compared.
"""

import math
from collections.abc import Hashable, Sequence

import numpy as np

from services.rubric_worker.evaluation.columns import Numbers
from shared_schemas.evaluations import Estimate

NUM_RESAMPLES = 2000

_Z = 1.959963984540054
"""97.5 % of a normal distribution lie below it."""

_SAME = 1e-9
"""Means that differ by less do so by rounding."""

_NUMBERS_AT_ONCE = 1 << 20
"""Eight megabytes of draws."""


class Bootstrap:
    """Means over pairs, with intervals from drawing whole prompts with replacement (Efron's percentile interval).

    `clusters` is [N], one for each pair: pairs of one prompt are not independent, so they are drawn together. Where all
    prompts have the same mean, as when a judge is always right, or there is one prompt alone, every draw is like every
    other; the interval is then as wide as prompts that were not seen could make it.
    """

    def __init__(self, clusters: Sequence[Hashable], *, seed: int, num_resamples: int = NUM_RESAMPLES) -> None:
        places = {cluster: place for place, cluster in enumerate(dict.fromkeys(clusters))}
        self._of_pair = np.array([places[cluster] for cluster in clusters], dtype=np.intp)
        self._num_clusters = len(places)
        self._seed = seed
        self._num_resamples = num_resamples

    def mean(self, values: Numbers) -> Estimate | None:
        """The mean of `values` [N], each 0 to 1 or NaN for a pair that has none; none if none has one.

        A resample's mean is a ratio of sums: prompts with more pairs weigh more, as they do in the mean itself.
        """
        known = ~np.isnan(values)
        if not known.any():
            return None
        clusters, values = self._of_pair[known], values[known]
        sums: Numbers = np.bincount(clusters, weights=values, minlength=self._num_clusters).astype(np.float64)
        counts: Numbers = np.bincount(clusters, minlength=self._num_clusters).astype(np.float64)
        value = float(np.mean(values))
        means = sums[counts > 0] / counts[counts > 0]
        if np.ptp(means) < _SAME:
            return _all_alike(value, len(means))
        low, high = np.percentile(self._resampled(sums, counts), [2.5, 97.5])
        return Estimate(value=value, low=min(float(low), value), high=max(float(high), value))

    def mean_difference(self, values: Numbers) -> Estimate | None:
        """Like `mean`, of `values` [N] between −1 and 1."""
        halved = self.mean((values + 1) / 2)
        if halved is None:
            return None
        value, low, high = (2 * end - 1 for end in (halved.value, halved.low, halved.high))
        return Estimate(value=value, low=low, high=high)

    def _resampled(self, sums: Numbers, counts: Numbers) -> Numbers:
        """[R] the mean of each resample that holds a value at all."""
        generator = np.random.default_rng(self._seed)
        portion = max(1, _NUMBERS_AT_ONCE // self._num_clusters)
        means = []
        for start in range(0, self._num_resamples, portion):
            shape = (min(portion, self._num_resamples - start), self._num_clusters)
            drawn = generator.integers(0, self._num_clusters, size=shape)
            totals = counts[drawn].sum(axis=1)
            means.append(sums[drawn].sum(axis=1)[totals > 0] / totals[totals > 0])
        return np.concatenate(means)


def _all_alike(value: float, num_clusters: int) -> Estimate:
    """`value` 0 to 1 in each of so many clusters: by Wilson's bound for none in so many trials, at most a share of
    z² / (n + z²) is other than that, and may have any value. For 0 and 1 it is Wilson's interval.
    """
    other = _Z**2 / (num_clusters + _Z**2)
    return Estimate(value=value, low=value - other * value, high=value + other * (1 - value))


def wilson(num_hits: float, num_trials: int) -> Estimate:
    """A share of independent trials with Wilson's score interval (1927); half hits count half.

    Raises `ZeroDivisionError` without trials.
    """
    share = num_hits / num_trials
    spread = _Z**2 / num_trials
    middle = (share + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * math.sqrt(share * (1 - share) / num_trials + spread / (4 * num_trials))
    return Estimate(value=share, low=max(0.0, min(share, middle - half)), high=min(1.0, max(share, middle + half)))
