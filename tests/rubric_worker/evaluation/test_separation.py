import numpy as np
import pytest

from services.rubric_worker.evaluation.intervals import Bootstrap
from services.rubric_worker.evaluation.separation import pairwise_auc, redundancy


def test_wins_count_one_and_equal_scores_half() -> None:
    found = pairwise_auc(np.array([0.5, 0.1, 0.0, -0.2]), Bootstrap(range(4), seed=0))
    assert found is not None
    assert found.value == 0.625
    assert found.low < found.value < found.high


def test_pairs_without_a_score_have_no_say() -> None:
    bootstrap = Bootstrap(range(2), seed=0)
    found = pairwise_auc(np.array([0.5, np.nan]), bootstrap)
    assert found is not None
    assert found.value == 1.0
    assert pairwise_auc(np.array([np.nan, np.nan]), bootstrap) is None


def test_correlations_by_hand() -> None:
    # Around their means 2 and 2: (−1, 0, 1) with itself, with (−1, 1, 0): ½ and with its opposite: −1.
    differences = np.array([[1.0, 1.0, 3.0], [2.0, 3.0, 2.0], [3.0, 2.0, 1.0]])
    found = redundancy(differences)
    assert found[0] == pytest.approx((1.0, 0.5, -1.0))
    assert found[1] == pytest.approx((0.5, 1.0, -0.5))


def test_a_criterion_that_never_varies_is_redundant_with_none() -> None:
    assert redundancy(np.array([[0.1, 1.0], [0.1, 2.0]])) == ((1.0, 0.0), (0.0, 1.0))


def test_correlations_are_over_the_pairs_that_both_have() -> None:
    differences = np.array([[1.0, 1.0], [2.0, 2.0], [np.nan, -9.0], [3.0, np.nan]])
    assert redundancy(differences)[0] == pytest.approx((1.0, 1.0))
    assert redundancy(np.array([[np.nan, 1.0], [1.0, np.nan]]))[0] == (1.0, 0.0)
