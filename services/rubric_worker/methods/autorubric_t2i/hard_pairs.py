"""Pairs that the kept criteria rank wrongly, and which of them the next criteria are written for.

Owns the three kinds and the schedule: early rounds draw what is clearly wrong, because a whole dimension is missing
there, late ones images that both score high, where criteria are too coarse. Pure: numbers in, places out.

The one rule: no pair is drawn more often than allowed; what stays wrong may be labelled wrongly.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum

import numpy as np

from services.rubric_worker.evaluation.columns import Numbers
from shared_schemas.autorubric import BucketCounts, BucketMix


class Bucket(StrEnum):
    """Kinds of wrongly ranked pairs; the values are the names in `BucketMix` and `BucketCounts`."""

    SMALL_MARGIN = "small_margin"
    LARGE_MARGIN = "large_margin"
    HIGH_REWARD = "high_reward"


def misranked(
    better: Numbers, worse: Numbers, *, small_margin_percentile: float, high_reward_percentile: float
) -> dict[int, Bucket]:
    """Place → kind of every wrongly ranked pair; `better` and `worse` [n] are the rewards of its images, NaN = none.

    Equal rewards are wrong, too. A pair whose images both have rewards from the percentile of all images' on is
    `high_reward`; else one with |margin| below the percentile of all pairs' is `small_margin`; else `large_margin`.
    """
    margins = better - worse
    known = ~np.isnan(margins)
    if not known.any():
        return {}
    small = np.percentile(np.abs(margins[known]), small_margin_percentile)
    high = np.percentile(np.concatenate([better[known], worse[known]]), high_reward_percentile)
    found = {}
    for place in np.flatnonzero(known & ~(margins > 0)):
        if min(better[place], worse[place]) >= high:
            bucket = Bucket.HIGH_REWARD
        else:
            bucket = Bucket.SMALL_MARGIN if abs(margins[place]) < small else Bucket.LARGE_MARGIN
        found[int(place)] = bucket
    return found


def mix_of_round(number: int, *, of: int, first: BucketMix, last: BucketMix) -> BucketMix:
    """What round `number` (1 … `of`) draws: `first` in the first, `last` in the last, in between what lies between."""
    share = 0.0 if of <= 1 else (number - 1) / (of - 1)
    between = {bucket.value: (1 - share) * getattr(first, bucket) + share * getattr(last, bucket) for bucket in Bucket}
    return BucketMix(**between)


def draw(
    found: Mapping[int, Bucket],
    mix: BucketMix,
    *,
    num_pairs: int,
    lots: Sequence[int],
    uses: Mapping[int, int],
    max_uses: int,
) -> list[int]:
    """At most `num_pairs` places in the shares of `mix`, ascending; `lots` [n] decide within a kind, smallest first.

    `uses` counts how often each place was drawn before. Where a kind has too few, the others fill up.
    """
    lines = {
        bucket: sorted(
            (place for place, kind in found.items() if kind is bucket and uses.get(place, 0) < max_uses),
            key=lambda place: lots[place],
        )
        for bucket in Bucket
    }
    drawn: list[int] = []
    for bucket, quota in _quotas(mix, num_pairs).items():
        drawn += lines[bucket][:quota]
        lines[bucket] = lines[bucket][quota:]
    left = [place for bucket in sorted(Bucket, key=lambda bucket: -getattr(mix, bucket)) for place in lines[bucket]]
    return sorted(drawn + left[: num_pairs - len(drawn)])


def counts(buckets: Sequence[Bucket]) -> BucketCounts:
    """How many of each kind."""
    counted = Counter(buckets)
    return BucketCounts(**{bucket.value: counted[bucket] for bucket in Bucket})


def _quotas(mix: BucketMix, num_pairs: int) -> dict[Bucket, int]:
    """Whole numbers in these shares that sum to `num_pairs`: rounded down, the largest remainders rounded up."""
    exact = {bucket: getattr(mix, bucket) * num_pairs for bucket in Bucket}
    quotas = {bucket: int(share + 1e-9) for bucket, share in exact.items()}
    by_remainder = sorted(Bucket, key=lambda bucket: quotas[bucket] - exact[bucket])
    for bucket in by_remainder[: num_pairs - sum(quotas.values())]:
        quotas[bucket] += 1
    return quotas
