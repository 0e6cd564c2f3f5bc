"""What learning must be worth: each target is met at its number, and missed on the wrong side of it."""

from typing import Any

import pytest

from examples.learn_rubrics.targets import Outcome, targets_of
from shared_schemas.rubrics import RubricContent, Task
from tests.arr.made_up_results import estimate, finished_job, rubric_report

OVER_NONE, OVER_RANDOM, SHIFT, GAP, SHUFFLED = range(5)


def outcome(**changes: Any) -> Outcome:
    """The learned set at 80 %; every target is just met."""
    values: dict[str, Any] = {
        **{"name": "shapes", "content": RubricContent(task=Task.T2I), "bias_nats": 1.0},
        "learned": rubric_report(accuracy=0.8),
        "none": rubric_report(version=None, accuracy=0.6),
        "random": (rubric_report(accuracy=0.65), rubric_report(accuracy=0.75)),
        "biased": rubric_report(accuracy=0.79, position_gap=0.15),
        "shuffled": finished_job(None, state="failed", reason="no-better-than-none"),
    }
    return Outcome(**{**values, **changes})


def met(found: Outcome) -> list[bool]:
    return [target.is_met for target in targets_of(found)]


def test_all_are_met_at_exactly_their_numbers() -> None:
    assert met(outcome()) == [True] * 5
    assert [target.measured for target in targets_of(outcome())] == [
        *("20.0", "10.0", "1.0", "15.0"),
        "failed, no-better-than-none",
    ]


@pytest.mark.parametrize(
    ("missed", "changes"),
    [
        (OVER_NONE, {"none": rubric_report(version=None, accuracy=0.605)}),
        (OVER_RANDOM, {"random": (rubric_report(accuracy=0.65), rubric_report(accuracy=0.76))}),
        (SHIFT, {"biased": rubric_report(accuracy=0.785, position_gap=0.15)}),
        (SHIFT, {"biased": rubric_report(accuracy=0.815, position_gap=0.15)}),
        (GAP, {"biased": rubric_report(accuracy=0.8, position_gap=0.145)}),
        (GAP, {"biased": rubric_report(accuracy=0.8, position_gap=None)}),
        (SHUFFLED, {"shuffled": finished_job(None, state="succeeded")}),
        (SHUFFLED, {"shuffled": finished_job(None, state="failed", reason="nothing-verified")}),
    ],
)
def test_what_falls_short_misses_its_target_and_no_other(missed: int, changes: dict[str, Any]) -> None:
    expected = [True] * 5
    expected[missed] = False
    assert met(outcome(**changes)) == expected


def test_a_lead_is_counted_in_order_averaged_accuracy() -> None:
    one_order = rubric_report(accuracy=0.6, forward=estimate(1.0), reverse=estimate(0.2))
    assert not met(outcome(learned=one_order))[OVER_NONE]
