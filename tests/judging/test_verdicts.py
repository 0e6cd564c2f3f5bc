"""Verdict maths with answers computed by hand, and its invariants."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.judging.answers import ChoiceAnswer, LabelAnswer
from services.judging.verdicts import combine_orders, is_tie, join_answers, p_yes, single_order

# Multiples of 1/1024 below 2^20 add and subtract without rounding, so "exactly" can mean exactly.
nats = st.integers(-(2**20), 2**20).map(lambda n: n / 1024)


def test_margin_and_bias_of_a_biased_judge() -> None:
    verdict = combine_orders(3.0, -1.0, 0.9)
    assert verdict.margin == 2.0
    assert verdict.position_bias == 1.0
    assert verdict.consistent
    assert verdict.label_mass == 0.9


def test_a_judge_that_prefers_whatever_comes_first_is_inconsistent() -> None:
    verdict = combine_orders(2.0, 1.0, 1.0)
    assert (verdict.margin, verdict.position_bias, verdict.consistent) == (0.5, 1.5, False)


@given(margin=nats, bias=nats)
def test_any_additive_bias_cancels_exactly(margin: float, bias: float) -> None:
    verdict = combine_orders(margin + bias, -margin + bias, 1.0)
    assert verdict.margin == margin
    assert verdict.position_bias == bias


@given(l_xy=nats, l_yx=nats)
def test_swapping_the_candidates_negates_the_margin_and_keeps_the_bias(l_xy: float, l_yx: float) -> None:
    verdict, swapped = combine_orders(l_xy, l_yx, 1.0), combine_orders(l_yx, l_xy, 1.0)
    assert verdict.margin is not None
    assert swapped.margin == -verdict.margin
    assert swapped.position_bias == verdict.position_bias
    assert swapped.consistent == verdict.consistent


@given(l_xy=nats, l_yx=nats)
def test_orders_are_consistent_when_their_product_is_negative_or_both_are_zero(l_xy: float, l_yx: float) -> None:
    assert combine_orders(l_xy, l_yx, 1.0).consistent == (l_xy * l_yx < 0 or l_xy == l_yx == 0)


def test_consistency_survives_numbers_whose_product_underflows() -> None:
    assert combine_orders(1e-200, -1e-200, 1.0).consistent
    assert not combine_orders(1e-200, 1e-200, 1.0).consistent


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        combine_orders(bad, 1.0, 1.0)


def test_probability_is_the_sigmoid_of_the_margin_over_the_temperature() -> None:
    verdict = combine_orders(math.log(4), -math.log(4), 1.0)
    assert verdict.p_first() == pytest.approx(0.8)
    assert verdict.p_first(temperature=2.0) == pytest.approx(2 / 3)
    assert combine_orders(-5000, 5000, 1.0).p_first() == 0.0
    assert combine_orders(5000, -5000, 1.0).p_first() == 1.0


def test_a_margin_inside_the_band_is_a_tie_and_its_edge_is_not() -> None:
    assert is_tie(0.099, 0.1)
    assert is_tie(-0.099, 0.1)
    assert not is_tie(0.1, 0.1)


def test_nobody_is_preferred_at_a_margin_of_zero_even_without_a_band() -> None:
    assert is_tie(0.0, 0.0)
    assert combine_orders(1.0, 1.0, 1.0).preferred == 0


@given(l_xy=nats, l_yx=nats)
def test_the_sign_of_the_margin_names_the_preferred_candidate(l_xy: float, l_yx: float) -> None:
    verdict = combine_orders(l_xy, l_yx, 1.0)
    assert verdict.margin is not None
    assert verdict.preferred == (verdict.margin > 0) - (verdict.margin < 0)


@given(log_odds=nats)
def test_one_order_is_the_margin_as_seen_from_the_image_shown_first(log_odds: float) -> None:
    as_shown = single_order(log_odds, 0.9, first_shown_first=True)
    swapped = single_order(log_odds, 0.9, first_shown_first=False)
    assert as_shown.margin == log_odds
    assert swapped.margin == -log_odds
    assert swapped.preferred == -as_shown.preferred
    for verdict in (as_shown, swapped):
        assert (verdict.position_bias, verdict.consistent, verdict.label_mass) == (None, None, 0.9)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_order_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        single_order(bad, 1.0, first_shown_first=True)


def label(log_p_first: float, log_p_second: float, mass: float = 1.0) -> LabelAnswer:
    return LabelAnswer(
        log_p_first=log_p_first, log_p_second=log_p_second, label_mass=mass, prompt_tokens=1, completion_tokens=1
    )


def chosen(first: bool) -> ChoiceAnswer:
    return ChoiceAnswer(chose_first=first, prompt_tokens=1, completion_tokens=1)


def test_two_answers_with_log_probabilities_join_by_their_log_odds() -> None:
    verdict = join_answers(label(-0.5, -3.5, 0.9), label(-2.0, -1.0, 0.8))
    assert verdict == combine_orders(3.0, -1.0, 0.8)


def test_one_answer_with_log_probabilities_is_a_verdict_of_one_order() -> None:
    assert join_answers(label(-0.5, -3.5), None) == single_order(3.0, 1.0, first_shown_first=True)
    assert join_answers(None, label(-0.5, -3.5)) == single_order(3.0, 1.0, first_shown_first=False)


@pytest.mark.parametrize(
    ("x_first", "y_first", "preferred", "consistent"),
    [
        (True, False, 1, True),  # x both times
        (False, True, -1, True),  # y both times
        (True, True, 0, False),  # whatever comes first
        (False, False, 0, False),  # whatever comes second
        (True, None, 1, None),
        (False, None, -1, None),
        (None, True, -1, None),
        (None, False, 1, None),
    ],
)
def test_choices_make_a_winner_unless_they_contradict_each_other(
    x_first: bool | None, y_first: bool | None, preferred: int, consistent: bool | None
) -> None:
    answers = [None if first is None else chosen(first) for first in (x_first, y_first)]
    verdict = join_answers(*answers)
    assert (verdict.preferred, verdict.consistent) == (preferred, consistent)
    assert verdict.margin is verdict.position_bias is verdict.label_mass is verdict.p_first() is None


def test_no_answer_and_answers_of_two_kinds_make_no_verdict() -> None:
    for x_first, y_first in ((None, None), (label(-1.0, -2.0), chosen(True)), (chosen(True), label(-1.0, -2.0))):
        with pytest.raises(ValueError, match="a verdict needs"):
            join_answers(x_first, y_first)


def test_how_well_a_criterion_is_met_is_the_share_of_yes() -> None:
    assert p_yes(label(math.log(0.6), math.log(0.2))) == pytest.approx(0.75)
    assert p_yes(label(-5000.0, -0.1)) == 0.0
