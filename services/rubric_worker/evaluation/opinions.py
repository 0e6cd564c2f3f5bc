"""What the judge said about a pair, as the statistics see it: without images, and without what people said."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from services.judging.answers import Answer, LabelAnswer
from services.judging.groups import weighted_score
from services.judging.questions import FIRST_SECOND, SECOND_FIRST, JudgeFailure, PairAnswer
from services.judging.verdicts import Preference, is_tie


@dataclass(frozen=True, kw_only=True, slots=True)
class Opinion:
    """Of two images, one is better, or neither."""

    preferred: Preference
    """1 = the pair's first image, −1 = its second, 0 = neither; before any tie margin."""
    margin: float | None
    """Positive = the first image; nats (pairwise), score (pointwise); None for a judge without log-probabilities."""
    names_shown_first: tuple[float, float] | None
    """How far the image shown first was named: when that was the pair's first image, and when it was its second. 1 =
    it was, 0 = the other, ½ = neither. None pointwise, where nothing stands first."""
    consistent: bool | None
    """Whether both orders name the same image; None pointwise."""

    def verdict(self, tie_margin: float) -> Preference:
        """The preference, with margins below `tie_margin` as ties."""
        return 0 if self.margin is not None and is_tie(self.margin, tie_margin) else self.preferred


Outcome: TypeAlias = Opinion | JudgeFailure
"""An opinion, or why there is none."""


def opinion_on_pair(answer: PairAnswer) -> Opinion:
    """What both orders say together, and each alone."""
    answers = {asked.question: asked.answer for asked in answer.asked}
    return Opinion(
        preferred=answer.verdict.preferred,
        margin=answer.verdict.margin,
        names_shown_first=(_names_shown_first(answers[FIRST_SECOND]), _names_shown_first(answers[SECOND_FIRST])),
        consistent=answer.verdict.consistent,
    )


def opinion_by_scores(first: Mapping[str, float], second: Mapping[str, float], weights: Mapping[str, float]) -> Opinion:
    """What the weighted scores of two images say about them."""
    margin = weighted_score(first, weights) - weighted_score(second, weights)
    preferred: Preference = 1 if margin > 0 else -1 if margin < 0 else 0
    return Opinion(preferred=preferred, margin=margin, names_shown_first=None, consistent=None)


def _names_shown_first(answer: Answer) -> float:
    if isinstance(answer, LabelAnswer) and answer.log_odds == 0:
        return 0.5
    return float(answer.chose_first)
