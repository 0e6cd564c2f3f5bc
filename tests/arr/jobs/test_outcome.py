"""What people are told to do about a job that failed."""

import pytest

from arr.jobs.outcome import what_next
from shared_schemas.evaluations import EvaluationFailure
from shared_schemas.jobs import EVALUATE, LEARN, JobReason
from shared_schemas.learning import LearnFailure

REASONS = [
    *((LEARN, reason) for reason in LearnFailure),
    *((EVALUATE, reason) for reason in EvaluationFailure),
    *(
        (kind, reason)
        for kind in (LEARN, EVALUATE, "other")
        for reason in JobReason
        if reason is not JobReason.CANCELLED
    ),
]


@pytest.mark.parametrize(("kind", "reason"), REASONS)
def test_every_reason_comes_with_a_next_step(kind: str, reason: str) -> None:
    assert what_next(kind, reason)


def test_an_evaluation_is_not_answered_with_the_options_of_learning() -> None:
    for reason in EvaluationFailure:
        assert "--param" not in (what_next(EVALUATE, reason) or "")


def test_a_reason_that_nobody_knows_has_none() -> None:
    assert what_next(LEARN, "something-new") is None
    assert what_next(LEARN, None) is None
