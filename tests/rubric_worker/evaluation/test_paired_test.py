import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rubric_worker.evaluation.paired_test import MAX_EXACT, paired_p_value


def test_five_prompts_that_all_speak_for_a_leave_one_pattern_in_32() -> None:
    assert paired_p_value([1] * 5, [0] * 5, range(5), seed=0) == 1 / 32


def test_one_prompt_against_four_is_reached_by_six_patterns_of_32() -> None:
    # 4 up and 1 down sum to 3: reached with no minus (1 pattern) or one (5 patterns).
    assert paired_p_value([1, 1, 1, 1, 0], [0, 0, 0, 0, 1], range(5), seed=0) == 6 / 32


def test_a_lead_the_other_way_round_has_a_large_p_value() -> None:
    assert paired_p_value([0, 0], [1, 1], range(2), seed=0) == 1.0


def test_two_equal_judges_do_not_differ() -> None:
    assert paired_p_value([1, 0, 0.5], [1, 0, 0.5], range(3), seed=0) == 1.0
    assert paired_p_value([1] * 50, [1] * 50, range(50), seed=0) == 1.0


def test_pairs_of_one_prompt_count_once() -> None:
    # 2 prompts, however many pairs: 1 of 4 patterns.
    assert paired_p_value([1] * 60, [0] * 60, ["a"] * 30 + ["b"] * 30, seed=0) == 1 / 4


def test_within_a_prompt_the_mean_counts() -> None:
    # Means ½, ½ and −1 sum to 0. Of ±½ ±½ ±1, five sums are that large: 2, 1, 1 and 0 with plus 1, 0 with minus 1.
    a, b = [1, 0, 1, 0, 0], [0, 0, 0, 0, 1]
    assert paired_p_value(a, b, ["x", "x", "y", "y", "z"], seed=0) == 5 / 8


def test_a_lead_of_zero_is_as_large_as_itself_however_it_is_rounded() -> None:
    thirds = [1 / 3, 1 / 3, 1 / 3, 0]
    # Means ⅓, ⅓, ⅓ and −1 sum to 0: reached whenever the last is turned (8), or nothing is (1).
    assert paired_p_value(thirds, [0, 0, 0, 1], range(4), seed=0) == 9 / 16


def test_random_patterns_come_near_to_the_exact_answer() -> None:
    # One prompt more than is tried exactly: 13 up of 14 with one down is reached by 1 + 14 of 2^14 patterns.
    num = MAX_EXACT + 2
    found = paired_p_value([1] * (num - 1) + [0], [0] * (num - 1) + [1], range(num), seed=0, num_flips=200_000)
    assert found == pytest.approx((1 + num) / 2**num, rel=0.2)


def test_no_p_value_is_zero() -> None:
    assert paired_p_value([1] * 100, [0] * 100, range(100), seed=0, num_flips=999) == 1 / 1000


@given(st.lists(st.tuples(st.sampled_from([0, 0.5, 1]), st.sampled_from([0, 0.5, 1]), st.integers(0, 5)), min_size=1))
def test_it_is_a_probability_and_equal_seeds_give_equal_ones(pairs: list[tuple[float, float, int]]) -> None:
    a, b, clusters = zip(*pairs, strict=True)
    found = paired_p_value(a, b, clusters, seed=3)
    assert 0 < found <= 1
    assert found == paired_p_value(a, b, clusters, seed=3)
    assert found + paired_p_value(b, a, clusters, seed=3) >= 1  # both sides share what is equal
