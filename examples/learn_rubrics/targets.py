"""What learning must be worth, and whether it was.

Owns the numbers that the example holds itself to. Accuracies are order-averaged, on held-out pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from shared_schemas.evaluations import RubricReport
from shared_schemas.jobs import Job
from shared_schemas.learning import LearnFailure
from shared_schemas.rubrics import RubricContent

MIN_LEAD_OVER_NONE = 20.0
MIN_LEAD_OVER_RANDOM = 10.0
MAX_SHIFT_BY_BIAS = 1.0
MIN_GAP_OF_ORDERS = 15.0
"""All in points: hundredths of accuracy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Everything that was found for one task."""

    name: str
    """The rubric set."""
    content: RubricContent
    """What was learned."""
    learned: RubricReport
    none: RubricReport
    """The judge without rubrics."""
    random: tuple[RubricReport, ...]
    """Sets of the same form, drawn by chance."""
    biased: RubricReport
    """The learned set before a judge that favours the image shown first by `bias_nats`."""
    bias_nats: float
    shuffled: Job
    """Learning from shuffled labels."""

    @property
    def random_accuracy(self) -> float:
        """Mean over the random sets."""
        return mean(report.accuracy.value for report in self.random)


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One thing that must hold."""

    name: str
    measured: str
    is_met: bool


def targets_of(outcome: Outcome) -> Sequence[Target]:
    """All of them, for one task."""
    accuracy = outcome.learned.accuracy.value
    lead_over_none, lead_over_random = accuracy - outcome.none.accuracy.value, accuracy - outcome.random_accuracy
    shift, gap = abs(outcome.biased.accuracy.value - accuracy), outcome.biased.position_gap or 0.0
    return (
        _at_least("lead over the judge without rubrics", lead_over_none, MIN_LEAD_OVER_NONE),
        _at_least(f"lead over {len(outcome.random)} random sets", lead_over_random, MIN_LEAD_OVER_RANDOM),
        _at_most(f"shift by a bias of {outcome.bias_nats:g} nat", shift, MAX_SHIFT_BY_BIAS),
        _at_least("gap between the orders under that bias", gap, MIN_GAP_OF_ORDERS),
        Target(
            name="learning from shuffled labels",
            measured=f"{outcome.shuffled.state}, {outcome.shuffled.reason}",
            is_met=outcome.shuffled.reason == LearnFailure.NO_BETTER_THAN_NONE,
        ),
    )


def _at_least(name: str, share: float, points: float) -> Target:
    return Target(name=f"{name} ≥ {points:g} points", measured=_points(share), is_met=_reaches(share, points))


def _at_most(name: str, share: float, points: float) -> Target:
    return Target(name=f"{name} ≤ {points:g} points", measured=_points(share), is_met=_reaches(-share, -points))


def _reaches(share: float, points: float) -> bool:
    """Shares of so few pairs are multiples of a few hundredths; the last digit of a float is no miss."""
    return 100 * share >= points - 1e-6


def _points(share: float) -> str:
    return f"{100 * share:.1f}"
