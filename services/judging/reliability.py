"""How far a judge can be relied on, measured on its answers to the same pairs asked several times.

Owns the statistics and the settings that follow from them. Refuses to ask: whoever measures brings the answers, all of
both orders and none from the cache.

The one rule: what a judge without log-probabilities cannot tell stays None.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median, variance

from services.judging.answers import LabelAnswer
from services.judging.questions import Asked, PairAnswer

SMALLEST_TIE_MARGIN = 0.02
"""Nats, for judges that always say the same: a preference of less than 50.5 % is nothing to train on."""

_NOISE_IN_TIE_MARGIN = 3.0
"""Standard deviations: of two pictures that are equally good, one wins by noise alone 3 times in 1,000."""

_BIAS_QUANTILE = 0.99

_STEPS_PER_NAT = 1000
"""Recommended settings are rounded up to a thousandth of a nat."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reliability:
    """What the answers say of the judge. Nats, unless said otherwise."""

    num_pairs: int
    num_repeats: int
    """How often each pair was judged."""
    noise: float | None
    """Standard deviation of a pair's margin from one time to the next, pooled over the pairs."""
    mean_position_bias: float | None
    """Above 0: it favours what is shown first."""
    largest_position_bias: float | None
    """99 % of the answers have less, in absolute value; the largest of fewer than 100."""
    consistent_share: float
    """Share of the verdicts in which both orders name the same winner."""
    stable_share: float
    """Share of the pairs with the same outcome each time."""
    mean_label_mass: float | None
    """Of single answers, 0 to 1."""
    min_label_mass: float | None
    """Of single answers, 0 to 1."""
    num_calls: int
    """Calls that reached the judge, retries included."""
    prompt_tokens: int
    completion_tokens: int
    median_call_seconds: float | None
    """Of calls that were answered."""

    @property
    def tie_margin(self) -> float | None:
        """Margins below this could be noise: 3 standard deviations, at least `SMALLEST_TIE_MARGIN`."""
        return None if self.noise is None else max(SMALLEST_TIE_MARGIN, _rounded_up(_NOISE_IN_TIE_MARGIN * self.noise))

    @property
    def position_bias_bound(self) -> float | None:
        """What the position bias hardly ever exceeds, in absolute value."""
        return None if self.largest_position_bias is None else _rounded_up(self.largest_position_bias)


def measure(answers: Sequence[Sequence[PairAnswer]]) -> Reliability:
    """`answers[pair][repeat]`: every pair judged equally often, at least twice, in both orders.

    Raises `ValueError` for anything less.
    """
    num_repeats = len(answers[0]) if answers else 0
    if num_repeats < 2 or any(len(repeats) != num_repeats for repeats in answers):
        raise ValueError("every pair must be judged equally often, and at least twice")
    flat = [answer for repeats in answers for answer in repeats]
    if any(answer.verdict.consistent is None for answer in flat):
        raise ValueError("every pair must be judged in both orders")
    asked = [one for answer in flat for one in answer.asked]
    margins = [margin for answer in flat if (margin := answer.verdict.margin) is not None]
    biases = [bias for answer in flat if (bias := answer.verdict.position_bias) is not None]
    masses = [one.answer.label_mass for one in asked if isinstance(one.answer, LabelAnswer)]
    seconds = _seconds(asked)
    return Reliability(
        num_pairs=len(answers),
        num_repeats=num_repeats,
        noise=_noise(answers) if len(margins) == len(flat) else None,
        mean_position_bias=fmean(biases) if biases else None,
        largest_position_bias=_quantile([abs(bias) for bias in biases], _BIAS_QUANTILE) if biases else None,
        consistent_share=fmean(bool(answer.verdict.consistent) for answer in flat),
        stable_share=fmean(len({answer.verdict.preferred for answer in repeats}) == 1 for repeats in answers),
        mean_label_mass=fmean(masses) if masses else None,
        min_label_mass=min(masses, default=None),
        num_calls=sum(answer.cost.judge_calls for answer in flat),
        prompt_tokens=sum(answer.cost.prompt_tokens for answer in flat),
        completion_tokens=sum(answer.cost.completion_tokens for answer in flat),
        median_call_seconds=median(seconds) if seconds else None,
    )


def _seconds(asked: Sequence[Asked]) -> list[float]:
    return [one.seconds for one in asked if one.seconds is not None]


def _noise(answers: Sequence[Sequence[PairAnswer]]) -> float:
    """Root of the mean variance within pairs: what differs between pairs is their quality, not noise."""
    within = [variance([answer.verdict.margin or 0.0 for answer in repeats]) for repeats in answers]
    return math.sqrt(fmean(within))


def _quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed; of a few values, the largest."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


def _rounded_up(nats: float) -> float:
    return math.ceil(round(nats * _STEPS_PER_NAT, 6)) / _STEPS_PER_NAT  # 1e-16 is no step
