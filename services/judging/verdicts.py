"""Verdict maths: what one-token answers say about a pair. Pure functions of float64 numbers.

Owns the model of a judge with a position bias; refuses to know about requests, prompts or caches.

A judge shown x first answers with the log-odds l_xy = log p(first label) − log p(second label). With a preference
margin m for x and an additive bias b towards whatever stands first, l_xy = m + b and l_yx = −m + b, hence

    m = (l_xy − l_yx) / 2        b = (l_xy + l_yx) / 2

A judge without log-probabilities only chooses: two choices make a winner when they agree, and nobody when they do not.

The one rule: any additive bias cancels exactly, and swapping the candidates swaps everything that follows.
"""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from services.judging.answers import Answer, ChoiceAnswer, LabelAnswer

Preference: TypeAlias = Literal[-1, 0, 1]
"""1 = the first candidate is better, −1 = the second is, 0 = neither."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What was said about a pair, in one order or in both."""

    preferred: Preference
    """Which candidate is the better one, before any tie margin."""
    margin: float | None
    """m in nats; positive = the first candidate is preferred. None without log-probabilities."""
    position_bias: float | None
    """b in nats; positive = the judge favours whatever is shown first. None unless both orders were asked."""
    consistent: bool | None
    """Whether both orders name the same winner; None unless both were asked."""
    label_mass: float | None
    """Probability the judge gave to the labels at all, the smaller of the orders asked; None without log-probs."""

    def p_first(self, temperature: float = 1.0) -> float | None:
        """Probability that the first candidate is the better one: sigmoid(margin / temperature)."""
        return None if self.margin is None else sigmoid(self.margin / temperature)


def combine_orders(l_xy: float, l_yx: float, label_mass: float) -> Verdict:
    """Join the log-odds of both orders, in nats, each "first shown over second shown".

    `label_mass` is the smaller of both orders' label masses. Raises `ValueError` for a log-odds that is not finite.
    """
    if not (math.isfinite(l_xy) and math.isfinite(l_yx)):
        raise ValueError(f"log-odds must be finite, got {l_xy} and {l_yx}")
    margin = (l_xy - l_yx) / 2
    opposite_signs = (l_xy > 0 > l_yx) or (l_xy < 0 < l_yx)
    return Verdict(
        preferred=_sign(margin),
        margin=margin,
        position_bias=(l_xy + l_yx) / 2,
        consistent=opposite_signs or l_xy == l_yx == 0,
        label_mass=label_mass,
    )


def single_order(log_odds: float, label_mass: float, *, first_shown_first: bool) -> Verdict:
    """Take the log-odds of one order, in nats, as the margin: whatever bias the judge has stays in it.

    `first_shown_first` says whether the first candidate of the pair was the image shown first. Raises `ValueError` for
    log-odds that are not finite.
    """
    if not math.isfinite(log_odds):
        raise ValueError(f"log-odds must be finite, got {log_odds}")
    margin = log_odds if first_shown_first else -log_odds
    return Verdict(preferred=_sign(margin), margin=margin, position_bias=None, consistent=None, label_mass=label_mass)


def join_answers(x_first: Answer | None, y_first: Answer | None) -> Verdict:
    """The verdict on (x, y) from the answer with x shown first, the one with y shown first, or both.

    Raises `ValueError` for none at all, and for one with and one without log-probabilities.
    """
    match x_first, y_first:
        case LabelAnswer(), LabelAnswer():
            label_mass = min(x_first.label_mass, y_first.label_mass)
            return combine_orders(x_first.log_odds, y_first.log_odds, label_mass)
        case (LabelAnswer(), None):
            return single_order(x_first.log_odds, x_first.label_mass, first_shown_first=True)
        case (None, LabelAnswer()):
            return single_order(y_first.log_odds, y_first.label_mass, first_shown_first=False)
        case ChoiceAnswer(), ChoiceAnswer():
            agree = x_first.chose_first != y_first.chose_first
            return _choice((1 if x_first.chose_first else -1) if agree else 0, consistent=agree)
        case (ChoiceAnswer(), None):
            return _choice(1 if x_first.chose_first else -1, consistent=None)
        case (None, ChoiceAnswer()):
            return _choice(-1 if y_first.chose_first else 1, consistent=None)
    raise ValueError("a verdict needs one answer, or two of the same kind")


def is_tie(margin: float, tie_margin: float) -> bool:
    """Whether |margin| < tie_margin (both in nats). A margin of exactly 0 prefers nobody, so it is always a tie."""
    return abs(margin) < tie_margin or margin == 0


def p_yes(answer: LabelAnswer) -> float:
    """p(yes) / (p(yes) + p(no)): how well one image meets one criterion, 0 to 1."""
    return sigmoid(answer.log_odds)


def sigmoid(x: float) -> float:
    """1 / (1 + e^−x) without overflow for large |x|."""
    if x >= 0:
        return 1 / (1 + math.exp(-x))
    return math.exp(x) / (1 + math.exp(x))


def _choice(preferred: Preference, *, consistent: bool | None) -> Verdict:
    return Verdict(preferred=preferred, margin=None, position_bias=None, consistent=consistent, label_mass=None)


def _sign(x: float) -> Preference:
    return 1 if x > 0 else -1 if x < 0 else 0
