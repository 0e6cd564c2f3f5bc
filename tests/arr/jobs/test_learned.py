"""What a terminal says of a set that was learned, or not."""

import pytest

from arr.jobs.learned import print_learned
from shared_schemas.learning import ProposalCounts
from tests.arr.made_up_results import learn_result

NOTHING = ProposalCounts(proposed=0, verified_at_once=0, verified_after_revision=0, discarded=0, refused_criteria=0)


def test_the_accuracy_stands_above_that_without_rubrics(capsys: pytest.CaptureFixture[str]) -> None:
    print_learned(learn_result(), None)
    _, accuracy, without, *_ = (" ".join(line.split()) for line in capsys.readouterr().out.splitlines())
    assert accuracy == "accuracy 78.0 % [72.0–84.0] of 212 held-out pairs"
    assert without == "without rubrics 61.0 % [55.0–67.0]"


def test_a_job_that_ended_before_anything_was_proposed_says_nothing_of_proposals(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = learn_result(
        rubric=None, proposals=NOTHING, num_candidates=0, num_selected=0, report=None, stages=(), p_value=None
    )
    print_learned(result, None)
    assert capsys.readouterr().out == ""
