import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rubric_worker.evaluation.intervals import Bootstrap, wilson


def test_wilson_of_eight_in_ten() -> None:
    # (8 + z²/2) / (10 + z²) ± z/(10 + z²)·√(10·0.8·0.2 + z²/4) with z = 1.96: 0.7167 ± 0.2266.
    found = wilson(8, 10)
    assert (found.value, found.low, found.high) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)


def test_wilson_of_none_and_all_of_ten_stays_between_0_and_1() -> None:
    none, all_ = wilson(0, 10), wilson(10, 10)
    assert (none.low, none.high) == pytest.approx((0.0, 0.2775), abs=1e-4)  # z² / (10 + z²)
    assert (all_.low, all_.high) == pytest.approx((0.7225, 1.0), abs=1e-4)


def test_the_mean_leaves_out_pairs_without_a_value() -> None:
    found = Bootstrap("abc", seed=0).mean(np.array([1.0, np.nan, 0.0]))
    assert found is not None
    assert found.value == 0.5
    assert Bootstrap("ab", seed=0).mean(np.array([np.nan, np.nan])) is None


def test_a_judge_that_is_always_right_is_as_sure_as_its_prompts_are_many() -> None:
    # Every draw is 1; Wilson's lower end for all of n is n / (n + z²).
    of_twenty = Bootstrap(range(20), seed=0).mean(np.ones(20))
    of_ten_twice = Bootstrap([*range(10), *range(10)], seed=0).mean(np.ones(20))
    for found, expected in ((of_twenty, wilson(20, 20)), (of_ten_twice, wilson(10, 10))):
        assert found is not None
        assert (found.value, found.low, found.high) == pytest.approx((1.0, expected.low, 1.0))


def test_one_prompt_alone_says_hardly_anything() -> None:
    found = Bootstrap("aaaa", seed=0).mean(np.array([1.0, 0.0, 1.0, np.nan]))
    assert found is not None
    other = 3.8415 / 4.8415  # z² / (1 + z²) of prompts may be all right, or all wrong
    assert (found.value, found.low, found.high) == pytest.approx(
        (2 / 3, 2 / 3 * (1 - other), 2 / 3 + other / 3), abs=1e-4
    )


def test_prompts_that_are_all_alike_may_still_have_others_beside_them() -> None:
    # z² / (20 + z²) = 0.161 of all prompts may be other, and gain or lose everything.
    found = Bootstrap(range(20), seed=0).mean_difference(np.zeros(20))
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((0.0, -0.1611, 0.1611), abs=1e-4)


def test_an_interval_of_few_prompts_holds_the_truth_as_often_as_it_says() -> None:
    # Drawn prompts alone hold 0.8 in two of three samples of five; the samples that are all right never do.
    generator = np.random.default_rng(0)
    found = [Bootstrap(range(5), seed=0).mean((generator.random(5) < 0.8).astype(float)) for _ in range(300)]
    assert sum(one is not None and one.low <= 0.8 <= one.high for one in found) > 0.93 * 300


def test_the_mean_of_differences_is_drawn_like_any_other() -> None:
    found = Bootstrap("abcd", seed=0).mean_difference(np.array([1.0, -1.0, np.nan, 0.0]))
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((0.0, -1.0, 1.0))
    always = Bootstrap(range(15), seed=0).mean_difference(np.ones(15))
    assert always is not None
    assert (always.value, always.high) == (1.0, 1.0)
    assert always.low == pytest.approx(2 * wilson(15, 15).low - 1)
    assert Bootstrap("a", seed=0).mean_difference(np.array([np.nan])) is None


def test_two_prompts_are_drawn_in_four_ways() -> None:
    # Means of 0, ½, ½ and 1: a quarter of the draws lies at each end, so 2.5 % and 97.5 % do, too.
    found = Bootstrap("ab", seed=0).mean(np.array([0.0, 1.0]))
    assert found is not None
    assert (found.low, found.value, found.high) == (0.0, 0.5, 1.0)


def test_a_prompt_with_more_pairs_weighs_more() -> None:
    found = Bootstrap("aaab", seed=0).mean(np.array([1.0, 1.0, 1.0, 0.0]))
    assert found is not None
    assert (found.low, found.value, found.high) == (0.0, 0.75, 1.0)


def test_pairs_that_repeat_each_other_make_no_interval_narrower() -> None:
    values = np.random.default_rng(0).integers(0, 2, 40).astype(float)
    once = Bootstrap(range(40), seed=0).mean(values)
    ten_times = Bootstrap([prompt for prompt in range(40) for _ in range(10)], seed=0).mean(np.repeat(values, 10))
    assert once is not None
    assert ten_times is not None
    assert (once.low, once.high) == pytest.approx((ten_times.low, ten_times.high))
    alone = Bootstrap(range(400), seed=0).mean(np.repeat(values, 10))
    assert alone is not None
    assert alone.high - alone.low < 0.4 * (once.high - once.low)


def test_ninety_five_in_a_hundred_intervals_hold_the_truth() -> None:
    # 60 prompts of 1 to 4 pairs; a prompt's own difficulty makes its pairs agree. The truth is 0.7.
    generator = np.random.default_rng(1)
    num_hits, num_experiments = 0, 300
    for _ in range(num_experiments):
        sizes = generator.integers(1, 5, 60)
        clusters = np.repeat(np.arange(60), sizes)
        difficulty = generator.beta(1.4, 0.6, 60)  # mean 0.7
        values = (generator.random(len(clusters)) < difficulty[clusters]).astype(float)
        found = Bootstrap(clusters.tolist(), seed=0, num_resamples=400).mean(values)
        assert found is not None
        num_hits += found.low <= 0.7 <= found.high
    assert 0.90 <= num_hits / num_experiments <= 0.985  # ±4 standard errors of 0.94, which 60 prompts come to


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 4)), min_size=1), st.integers(0, 9))
def test_an_interval_holds_its_value_and_equal_seeds_give_equal_ones(pairs: list[tuple[float, int]], seed: int) -> None:
    values, clusters = zip(*pairs, strict=True)
    found = Bootstrap(clusters, seed=seed, num_resamples=50).mean(np.array(values))
    assert found is not None
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found == Bootstrap(clusters, seed=seed, num_resamples=50).mean(np.array(values))
