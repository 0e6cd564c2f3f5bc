import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rubric_worker.evaluation.confidence import reliability, sigmoid


def log_odds(p: float) -> float:
    return math.log(p / (1 - p))


def test_bins_error_and_brier_score_by_hand() -> None:
    # Confidence 0.62 three times (right twice), 0.92 once (wrong).
    margins = np.array([log_odds(0.62), log_odds(0.62), -log_odds(0.62), log_odds(0.92)])
    found = reliability(margins, np.array([1, 1, 1, -1]))
    assert [(one.low, one.high) for one in found.bins] == [pytest.approx((0.6, 0.65)), pytest.approx((0.9, 0.95))]
    assert [one.num_pairs for one in found.bins] == [3, 1]
    assert [one.confidence for one in found.bins] == pytest.approx([0.62, 0.92])
    assert [one.accuracy for one in found.bins] == pytest.approx([2 / 3, 0.0])
    assert found.ece == pytest.approx((3 * (2 / 3 - 0.62) + 0.92) / 4)
    assert found.brier == pytest.approx((0.38**2 + 0.38**2 + 0.62**2 + 0.92**2) / 4)


def test_a_margin_of_nothing_is_half_right_and_half_sure() -> None:
    found = reliability(np.array([0.0]), np.array([-1]))
    assert (found.ece, found.brier) == (0.0, 0.25)


def test_the_surest_verdicts_are_in_the_last_bin() -> None:
    [last] = reliability(np.array([1000.0]), np.array([1])).bins
    assert (last.low, last.high, last.confidence, last.accuracy) == pytest.approx((0.95, 1.0, 1.0, 1.0))


def test_a_temperature_makes_margins_smaller() -> None:
    [one] = reliability(np.array([4.0]), np.array([1]), temperature=2.0).bins
    assert one.confidence == pytest.approx(1 / (1 + math.exp(-2)))


def test_a_judge_that_means_what_it_says_has_hardly_an_error() -> None:
    generator = np.random.default_rng(0)
    margins = generator.normal(0, 2, 20_000)
    labels = np.where(generator.random(20_000) < sigmoid(margins), 1, -1)
    assert reliability(margins, labels).ece < 0.01
    assert reliability(margins * 3, labels).ece > 0.1


@given(st.lists(st.tuples(st.floats(-800, 800), st.sampled_from([-1, 1])), min_size=1))
def test_every_pair_is_in_one_bin_and_swapping_all_images_changes_nothing(pairs: list[tuple[float, int]]) -> None:
    margins, labels = (np.array(column) for column in zip(*pairs, strict=True))
    found = reliability(margins, labels)
    assert sum(one.num_pairs for one in found.bins) == len(pairs)
    assert all(one.low - 1e-9 <= one.confidence <= one.high + 1e-9 for one in found.bins)
    assert found == reliability(-margins, -labels)
