import pytest

from shared_schemas.reward import GroupResult, PairVerdict, Status
from trainer.records import VerdictSummary, mean_of_known


def _tied(**numbers: float | bool | None) -> GroupResult:
    nothing = dict.fromkeys(("margin", "p_first", "position_bias", "consistent", "label_mass"))
    pair = PairVerdict.model_validate({"first": 0, "second": 1, "cached": False} | nothing | numbers)
    return GroupResult(id="g", status=Status.TIED, pairs=(pair,))


def test_each_mean_is_over_the_pairs_that_have_the_number() -> None:
    both_orders = _tied(margin=-1.0, position_bias=0.5, consistent=True)
    one_order = _tied(margin=3.0)
    no_log_probs = _tied(consistent=False)
    summary = VerdictSummary.of([both_orders, one_order, no_log_probs])
    assert summary.tied == summary.num_groups == 3
    assert summary.mean_abs_margin == pytest.approx(2.0)  # (1 + 3) / 2
    assert summary.mean_position_bias == pytest.approx(0.5)
    assert summary.consistent_fraction == pytest.approx(0.5)


def test_without_any_number_there_is_no_mean() -> None:
    summary = VerdictSummary.of([_tied()])
    assert (summary.mean_abs_margin, summary.mean_position_bias, summary.consistent_fraction) == (None, None, None)


def test_a_zero_is_a_number() -> None:
    assert mean_of_known([0.0, None, 1.0]) == 0.5
