"""Strengths, ranks and rewards of a group, computed by hand, and what must hold for every group."""

from collections.abc import Mapping
from fractions import Fraction
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.judging.groups import (
    Comparison,
    Standing,
    comparative_rewards,
    connects,
    least_squares_strengths,
    standing_of_pairs,
    standing_of_scores,
    tie_aware_ranks,
    weighted_score,
)
from services.judging.verdicts import Preference, Verdict, combine_orders, is_tie, sigmoid
from shared_schemas.reward import RewardScheme, Scheme

RPO = RewardScheme(scheme=Scheme.RANK)
WIN_RATE = RewardScheme(scheme=Scheme.WIN_RATE)
MARGIN = RewardScheme(scheme=Scheme.MARGIN)

# Any number a judge may give; and multiples of 1/1024, which add and subtract without rounding.
any_nats = st.floats(-1e6, 1e6)
exact_nats = st.integers(-(2**20), 2**20).map(lambda n: n / 1024)
tie_margins = st.sampled_from([0.0, 0.05, 1.0, 100.0])


def verdict(margin: float) -> Verdict:
    return combine_orders(margin, -margin, 1.0)


def choice(preferred: Preference) -> Verdict:
    return Verdict(preferred=preferred, margin=None, position_bias=None, consistent=None, label_mass=None)


def compared(margins: Mapping[tuple[int, int], float]) -> list[Comparison]:
    return [Comparison(first=i, second=j, verdict=verdict(margin)) for (i, j), margin in margins.items()]


def standing(num_candidates: int, margins: Mapping[tuple[int, int], float], *, tie_margin: float = 0.05) -> Standing:
    found = standing_of_pairs(num_candidates, compared(margins), tie_margin=tie_margin)
    assert found is not None
    return found


@st.composite
def connected_groups(draw: st.DrawFn) -> tuple[int, dict[tuple[int, int], float]]:
    """2 to 8 candidates and the margins of enough pairs to connect them."""
    num_candidates = draw(st.integers(2, 8))
    everything = list(combinations(range(num_candidates), 2))
    path = list(pairwise(draw(st.permutations(range(num_candidates)))))
    pairs = {(min(pair), max(pair)) for pair in path} | set(draw(st.lists(st.sampled_from(everything))))
    return num_candidates, {pair: draw(any_nats) for pair in sorted(pairs)}


def exactly(*numbers: Fraction | int) -> tuple[Fraction, ...]:
    return tuple(map(Fraction, numbers))


def rewards_by_every_scheme(found: Standing) -> list[tuple[float, ...]]:
    return [comparative_rewards(found, scheme) for scheme in (RPO, WIN_RATE, MARGIN)]


# Three and four candidates, by hand.


def test_contradicting_margins_are_settled_by_least_squares() -> None:
    # Candidate 0 beats 1 by 2 and 2 by 2, and 1 beats 2 by 3: s_i = (sum of its margins) / 3.
    found = standing(3, {(0, 1): 2.0, (0, 2): 2.0, (1, 2): 3.0})
    assert found.strengths == exactly(Fraction(4, 3), Fraction(1, 3), Fraction(-5, 3))
    assert found.ranks == (1.0, 2.0, 3.0)
    assert comparative_rewards(found, RPO) == (1.0, 0.45, -0.1)
    assert comparative_rewards(found, MARGIN) == (2.0, 0.5, -2.5)
    win_rates = comparative_rewards(found, WIN_RATE)
    assert win_rates == pytest.approx(
        [(sigmoid(2) + sigmoid(2)) / 2, (sigmoid(-2) + sigmoid(3)) / 2, (sigmoid(-2) + sigmoid(-3)) / 2]
    )


def test_a_temperature_tempers_win_rates_and_nothing_else() -> None:
    found = standing(3, {(0, 1): 2.0, (0, 2): 2.0, (1, 2): 3.0})
    assert comparative_rewards(found, WIN_RATE, temperature=2.0) == pytest.approx(
        [sigmoid(1), (sigmoid(-1) + sigmoid(1.5)) / 2, (sigmoid(-1) + sigmoid(-1.5)) / 2]
    )
    for scheme in (RPO, MARGIN):
        assert comparative_rewards(found, scheme, temperature=2.0) == comparative_rewards(found, scheme)


def test_a_pair_that_was_not_judged_is_filled_in_from_the_strengths() -> None:
    # A chain of four, 0 > 1 > 2 > 3 by 1, 2 and 4: the strengths follow it exactly.
    found = standing(4, {(0, 1): 1.0, (1, 2): 2.0, (2, 3): 4.0})
    assert found.strengths == exactly(Fraction(11, 4), Fraction(7, 4), Fraction(-1, 4), Fraction(-17, 4))
    assert [found.margin(0, j) for j in (1, 2, 3)] == [1.0, 3.0, 7.0]
    assert found.ranks == (1.0, 2.0, 3.0, 4.0)
    assert comparative_rewards(found, MARGIN) == pytest.approx([11 / 3, (-1 + 2 + 6) / 3, (-3 - 2 + 4) / 3, -17 / 3])


def test_a_filled_in_pair_inside_the_band_counts_as_zero_like_a_judged_one() -> None:
    found = standing(3, {(0, 1): 2.0, (1, 2): -1.96})  # a difference of 0.04 between 0 and 2
    assert found.margin(0, 2) == 0.0
    assert found.ranks == (1.5, 3.0, 1.5)
    assert comparative_rewards(found, MARGIN) == (1.0, -1.98, 0.98)


def test_candidates_that_tie_share_the_mean_of_their_ranks_and_their_reward() -> None:
    qualities = [3.0, 1.0, 1.01, -2.0]
    found = standing(4, {(i, j): qualities[i] - qualities[j] for i, j in combinations(range(4), 2)})
    assert found.ranks == (1.0, 2.5, 2.5, 4.0)
    assert comparative_rewards(found, RPO) == pytest.approx([1.0, 0.45, 0.45, -0.1])


def test_a_tied_pair_counts_as_a_margin_of_zero() -> None:
    found = standing(3, {(0, 1): 0.04, (0, 2): 3.0, (1, 2): 3.0})
    assert found.strengths == exactly(1, 1, -2)
    assert found.ranks == (1.5, 1.5, 3.0)
    assert comparative_rewards(found, MARGIN) == (1.5, 1.5, -3.0)
    assert comparative_rewards(found, WIN_RATE)[0] == pytest.approx((0.5 + sigmoid(3)) / 2)


def test_a_group_is_tied_when_all_strengths_lie_within_the_band() -> None:
    circle = {(0, 1): 1.0, (1, 2): 1.0, (0, 2): -1.0}  # rock, paper, scissors
    assert standing(3, circle, tie_margin=0.0).is_tied
    assert standing(3, {(0, 1): 0.01, (0, 2): 0.02, (1, 2): 0.04}).is_tied
    # Two strengths of ± m/3 around one of 0: one pair outside the band alone need not lift the group out of it.
    assert standing(3, {(0, 1): 0.07, (0, 2): 0.0, (1, 2): 0.0}).is_tied
    assert not standing(3, {(0, 1): 0.08, (0, 2): 0.0, (1, 2): 0.0}).is_tied


def test_a_rank_begins_a_tie_band_below_the_best_of_the_one_before() -> None:
    strengths = [Fraction(3), Fraction(5, 2), Fraction(2), Fraction(0)]
    assert tie_aware_ranks(strengths, tie_band=1.0) == (1.5, 1.5, 3.0, 4.0)  # 2 is a band below 3, though near to 2.5
    assert tie_aware_ranks(strengths, tie_band=1.5) == (2.0, 2.0, 2.0, 4.0)
    assert tie_aware_ranks(strengths, tie_band=0.0) == (1.0, 2.0, 3.0, 4.0)
    assert tie_aware_ranks([Fraction(1), Fraction(1)], tie_band=0.0) == (1.5, 1.5)


def test_winners_without_margins_count_one_each_and_have_no_probabilities() -> None:
    verdicts = {(0, 1): choice(1), (0, 2): choice(1), (1, 2): choice(0)}
    comparisons = [Comparison(first=i, second=j, verdict=one) for (i, j), one in verdicts.items()]
    found = standing_of_pairs(3, comparisons, tie_margin=5.0)  # a band in nats says nothing about choices
    assert found is not None
    assert found.strengths == exactly(Fraction(2, 3), Fraction(-1, 3), Fraction(-1, 3))
    assert found.ranks == (1.0, 2.5, 2.5)
    assert not found.has_margins
    for scheme in (WIN_RATE, MARGIN):
        with pytest.raises(ValueError, match="do not follow"):
            comparative_rewards(found, scheme)


def test_a_margin_beside_a_mere_choice_counts_as_a_choice() -> None:
    comparisons = [
        Comparison(first=0, second=1, verdict=verdict(7.0)),
        Comparison(first=1, second=2, verdict=choice(1)),
    ]
    found = standing_of_pairs(3, comparisons, tie_margin=0.0)
    assert found is not None
    assert found.strengths == exactly(1, 0, -1)


def test_scores_are_strengths_of_their_own() -> None:
    found = standing_of_scores([0.9, 0.25, 0.5], tie_score=0.0)
    assert found.ranks == (1.0, 3.0, 2.0)
    assert comparative_rewards(found, RPO) == (1.0, -0.1, 0.45)
    assert comparative_rewards(found, MARGIN) == pytest.approx([0.525, -0.45, -0.075])
    assert standing_of_scores([0.5, 0.5], tie_score=0.0).is_tied
    assert standing_of_scores([0.5, 0.59], tie_score=0.1).is_tied
    assert not standing_of_scores([0.5, 0.625], tie_score=0.125).is_tied


@given(scores=st.lists(st.floats(0, 100), min_size=2, max_size=5))
def test_the_margin_between_two_scores_is_their_difference_to_the_last_bit(scores: list[float]) -> None:
    found = standing_of_scores(scores, tie_score=0.0)
    assert all(found.margin(i, j) == scores[i] - scores[j] for i, j in combinations(range(len(scores)), 2))


def test_scores_inside_the_band_differ_by_nothing() -> None:
    found = standing_of_scores([0.5, 0.59, 0.9], tie_score=0.1)
    assert comparative_rewards(found, MARGIN) == pytest.approx([-0.2, -0.155, 0.355])


def test_a_weighted_score_takes_the_weights_as_they_stand() -> None:
    assert weighted_score({"colour": 0.5, "shape": 0.25}, {"colour": 2.0, "shape": 4.0}) == 2.0


def test_score_rewards_compare_nobody() -> None:
    with pytest.raises(ValueError, match="score"):
        comparative_rewards(standing(2, {(0, 1): 1.0}), RewardScheme(scheme=Scheme.SCORE))


# Two candidates.


@given(margin=any_nats, tie_margin=tie_margins)
def test_two_candidates_follow_their_one_margin_to_the_last_bit(margin: float, tie_margin: float) -> None:
    found = standing(2, {(0, 1): margin}, tie_margin=tie_margin)
    assert found.is_tied == is_tie(margin, tie_margin)
    if not found.is_tied:
        assert found.margin(0, 1) == margin
        assert float(found.strengths[0] - found.strengths[1]) == margin
        assert found.ranks == ((1.0, 2.0) if margin > 0 else (2.0, 1.0))
        assert comparative_rewards(found, RPO) == ((1.0, -0.1) if margin > 0 else (-0.1, 1.0))
        assert comparative_rewards(found, MARGIN) == (margin, -margin)
        assert comparative_rewards(found, WIN_RATE) == (sigmoid(margin), sigmoid(-margin))


@given(margin=any_nats, preferred=st.floats(-1e6, 1e6), dispreferred=st.floats(-1e6, 1e6))
def test_binary_rewards_are_the_two_numbers_themselves(margin: float, preferred: float, dispreferred: float) -> None:
    scheme = RewardScheme(preferred=preferred, dispreferred=dispreferred)
    found = standing(2, {(0, 1): margin}, tie_margin=0.0)
    if margin != 0:
        rewards = comparative_rewards(found, scheme)
        assert rewards == ((preferred, dispreferred) if margin > 0 else (dispreferred, preferred))


# Any number of candidates.


@given(group=connected_groups(), tie_margin=tie_margins, data=st.data())
def test_permuting_the_candidates_permutes_everything_exactly(
    group: tuple[int, dict[tuple[int, int], float]], tie_margin: float, data: st.DataObject
) -> None:
    num_candidates, margins = group
    place = data.draw(st.permutations(range(num_candidates)))  # candidate i moves to place[i]
    moved = {(place[i], place[j]): margin for (i, j), margin in margins.items()}
    mirrored = {(j, i): -margin for (i, j), margin in moved.items()}
    before = standing(num_candidates, margins, tie_margin=tie_margin)
    for margins_after in (moved, mirrored):
        after = standing(num_candidates, margins_after, tie_margin=tie_margin)
        assert [after.strengths[place[i]] for i in range(num_candidates)] == list(before.strengths)
        assert [after.ranks[place[i]] for i in range(num_candidates)] == list(before.ranks)
        for one, other in zip(rewards_by_every_scheme(before), rewards_by_every_scheme(after), strict=True):
            assert [other[place[i]] for i in range(num_candidates)] == list(one)


@given(group=connected_groups(), strengths=st.lists(exact_nats, min_size=8, max_size=8))
def test_margins_that_agree_with_each_other_are_recovered_exactly(
    group: tuple[int, dict[tuple[int, int], float]], strengths: list[float]
) -> None:
    num_candidates, judged = group
    margins = {(i, j): strengths[i] - strengths[j] for i, j in judged}
    found = standing(num_candidates, margins, tie_margin=0.0)
    for i, j in combinations(range(num_candidates), 2):
        assert found.margin(i, j) == strengths[i] - strengths[j]


@given(group=connected_groups(), data=st.data())
def test_a_position_bias_of_the_judge_changes_nothing(
    group: tuple[int, dict[tuple[int, int], float]], data: st.DataObject
) -> None:
    num_candidates, pairs = group
    margins = {pair: data.draw(exact_nats) for pair in pairs}
    bias = data.draw(exact_nats)
    biased = [
        Comparison(first=i, second=j, verdict=combine_orders(margin + bias, -margin + bias, 1.0))
        for (i, j), margin in margins.items()
    ]
    found = standing_of_pairs(num_candidates, biased, tie_margin=0.05)
    assert found == standing(num_candidates, margins)


@given(group=connected_groups(), tie_margin=tie_margins)
def test_strengths_are_centred_and_better_ones_never_earn_less(
    group: tuple[int, dict[tuple[int, int], float]], tie_margin: float
) -> None:
    num_candidates, margins = group
    found = standing(num_candidates, margins, tie_margin=tie_margin)
    assert sum(found.strengths) == 0
    assert sum(found.ranks) == num_candidates * (num_candidates + 1) / 2
    by_strength = sorted(range(num_candidates), key=lambda index: found.strengths[index])
    rewards = comparative_rewards(found, RPO)
    assert all(rewards[worse] <= rewards[better] for worse, better in pairwise(by_strength))
    assert all(-0.1 <= reward <= 1.0 for reward in rewards)


@given(group=connected_groups())
def test_the_strengths_solve_the_normal_equations(group: tuple[int, dict[tuple[int, int], float]]) -> None:
    num_candidates, margins = group
    both_ways = margins | {(j, i): -margin for (i, j), margin in margins.items()}
    strengths = least_squares_strengths(num_candidates, both_ways)
    for i in range(num_candidates):  # half the derivative of the sum of squares by s_i
        residuals = [strengths[i] - strengths[j] - Fraction(m) for (k, j), m in both_ways.items() if k == i]
        assert sum(residuals) == 0


@pytest.mark.parametrize(
    ("num_candidates", "pairs", "expected"),
    [
        (1, [], True),
        (2, [], False),
        (2, [(0, 1)], True),
        (4, [(0, 1), (2, 3)], False),
        (4, [(0, 1), (2, 3), (1, 3)], True),
        (4, [(1, 2), (2, 3), (1, 3)], False),
        (4, [(2, 3), (1, 2), (0, 1)], True),
    ],
)
def test_comparisons_connect_a_group_or_leave_it_without_a_standing(
    num_candidates: int, pairs: list[tuple[int, int]], expected: bool
) -> None:
    assert connects(num_candidates, pairs) is expected
    if num_candidates > 1:
        found = standing_of_pairs(num_candidates, compared(dict.fromkeys(pairs, 1.0)), tie_margin=0.0)
        assert (found is not None) is expected
