"""Verdict maths: what two one-token answers say about a pair. Pure functions of float64 numbers.

Owns the model of a judge with a position bias; refuses to know about requests, prompts or caches.

A judge shown x first answers with the log-odds l_xy = log p(first label) − log p(second label). With a preference
margin m for x and an additive bias b towards whatever stands first, l_xy = m + b and l_yx = −m + b, hence

    m = (l_xy − l_yx) / 2        b = (l_xy + l_yx) / 2

The one rule: any additive bias cancels exactly, and swapping the candidates swaps everything that follows.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What both orders of a pair say together."""

    margin: float
    """m in nats; positive = the first candidate is preferred."""
    position_bias: float
    """b in nats; positive = the judge favours whatever is shown first."""
    consistent: bool
    """Whether both orders name the same winner."""
    label_mass: float
    """Probability the judge gave to the labels at all, the smaller of both orders; 0 to 1."""

    def p_first(self, temperature: float = 1.0) -> float:
        """Probability that the first candidate is the better one: sigmoid(margin / temperature)."""
        return _sigmoid(self.margin / temperature)


def combine_orders(l_xy: float, l_yx: float, label_mass: float) -> Verdict:
    """Join the log-odds of both orders, in nats, each "first shown over second shown".

    `label_mass` is the smaller of both orders' label masses. Raises `ValueError` for a log-odds that is not finite.
    """
    if not (math.isfinite(l_xy) and math.isfinite(l_yx)):
        raise ValueError(f"log-odds must be finite, got {l_xy} and {l_yx}")
    opposite_signs = (l_xy > 0 > l_yx) or (l_xy < 0 < l_yx)
    return Verdict(
        margin=(l_xy - l_yx) / 2,
        position_bias=(l_xy + l_yx) / 2,
        consistent=opposite_signs or l_xy == l_yx == 0,
        label_mass=label_mass,
    )


def is_tie(margin: float, tie_margin: float) -> bool:
    """Whether |margin| < tie_margin (both in nats). A margin of exactly 0 prefers nobody, so it is always a tie."""
    return abs(margin) < tie_margin or margin == 0


def binary_rewards(
    margin: float, *, tie_margin: float, preferred: float, dispreferred: float
) -> tuple[float, float] | None:
    """Rewards of the first and the second candidate, or None for a tie (RPO, arXiv 2605.08354: +1.0 and −0.1)."""
    if is_tie(margin, tie_margin):
        return None
    return (preferred, dispreferred) if margin > 0 else (dispreferred, preferred)


def ranks(margin: float, *, tie_margin: float) -> tuple[int, int] | None:
    """Ranks of the first and the second candidate, 1 = best, or None for a tie."""
    if is_tie(margin, tie_margin):
        return None
    return (1, 2) if margin > 0 else (2, 1)


def _sigmoid(x: float) -> float:
    """1 / (1 + e^−x) without overflow for large |x|."""
    if x >= 0:
        return 1 / (1 + math.exp(-x))
    return math.exp(x) / (1 + math.exp(x))
