"""Verdict maths with answers computed by hand, and its invariants."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.judging.verdicts import binary_rewards, combine_orders, is_tie, ranks

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
    assert binary_rewards(0.0, tie_margin=0.0, preferred=1.0, dispreferred=-0.1) is None
    assert ranks(0.0, tie_margin=0.0) is None


def test_rewards_go_to_the_preferred_candidate() -> None:
    assert binary_rewards(0.5, tie_margin=0.1, preferred=1.0, dispreferred=-0.1) == (1.0, -0.1)
    assert binary_rewards(-0.5, tie_margin=0.1, preferred=1.0, dispreferred=-0.1) == (-0.1, 1.0)
    assert binary_rewards(0.05, tie_margin=0.1, preferred=1.0, dispreferred=-0.1) is None


@given(margin=nats, tie_margin=st.floats(0, 10))
def test_swapping_the_candidates_swaps_the_rewards(margin: float, tie_margin: float) -> None:
    rewards = binary_rewards(margin, tie_margin=tie_margin, preferred=1.0, dispreferred=-0.1)
    swapped = binary_rewards(-margin, tie_margin=tie_margin, preferred=1.0, dispreferred=-0.1)
    assert swapped == (None if rewards is None else rewards[::-1])


def test_rank_one_is_the_preferred_candidate() -> None:
    assert ranks(0.5, tie_margin=0.1) == (1, 2)
    assert ranks(-0.5, tie_margin=0.1) == (2, 1)
    assert ranks(0.05, tie_margin=0.1) is None
