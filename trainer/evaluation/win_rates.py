"""Win rates with intervals: what a set of judged pairs comes to."""

import math
from collections.abc import Sequence

from shared_schemas.reward import GroupResult, Status
from trainer.errors import RewardsUnavailable
from trainer.evaluation.samples import Sample
from trainer.records import WinRate, mean_of_known


def win_rates(results: Sequence[GroupResult], samples: Sequence[Sample]) -> tuple[WinRate, WinRate | None]:
    """On all prompts, and on held-out ones: None when none of those was judged.

    Raises `RewardsUnavailable` when nothing was judged.
    """
    pairs = zip(results, samples, strict=True)
    judged = [(result, sample) for result, sample in pairs if result.status is not Status.FAILED]
    if not judged:
        raise RewardsUnavailable(f"none of the {len(results)} pairs of the evaluation was judged")
    held_out = [result for result, sample in judged if sample.is_held_out]
    return win_rate([result for result, _ in judged]), win_rate(held_out) if held_out else None


def win_rate(results: Sequence[GroupResult]) -> WinRate:
    """Win rate of the first candidate over all judged groups, ties counting half.

    The 95 % interval is Wilson's with half-wins; as ties vary less than coin flips it is a little wide, never narrow.
    Raises `ValueError` when nothing was judged.
    """
    judged = [result for result in results if result.status is not Status.FAILED]
    if not judged:
        raise ValueError("no group was judged")
    outcomes = [outcome(result) for result in judged]
    wins, losses = outcomes.count(1.0), outcomes.count(0.0)
    rate = sum(outcomes) / len(judged)
    low, high = wilson_interval(rate, len(judged))
    return WinRate(
        wins=wins,
        ties=len(judged) - wins - losses,
        losses=losses,
        win_rate=rate,
        low=low,
        high=high,
        mean_margin=mean_of_known(pair.margin for result in judged for pair in result.pairs),
    )


def outcome(result: GroupResult) -> float:
    """1 when the first candidate won, 0 when the second did, ½ for a tie, NaN when the pair was not judged."""
    if result.status is Status.FAILED:
        return math.nan
    won, lost = result.ranks == (1, 2), result.ranks == (2, 1)
    return 0.5 + (won - lost) / 2


def wilson_interval(rate: float, count: int, *, z: float = 1.959964) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927); `z` is the normal quantile, 1.96 for 95 %."""
    shrink = 1.0 + z**2 / count
    centre = (rate + z**2 / (2 * count)) / shrink
    half = z / shrink * math.sqrt(rate * (1 - rate) / count + z**2 / (4 * count**2))
    return max(0.0, centre - half), min(1.0, centre + half)
