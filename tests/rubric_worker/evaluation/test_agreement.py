import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rubric_worker.evaluation.agreement import correctness, kappa, noise_floor, tie_aware_accuracy

verdicts = st.lists(st.tuples(st.sampled_from([-1, 0, 1]), st.sampled_from([-1, 0, 1])), min_size=1)


def test_a_tie_is_half_right_and_a_pair_that_people_call_a_tie_has_no_right() -> None:
    found = correctness(np.array([1, -1, 0, 0, 1]), np.array([1, 1, -1, 0, 0]))
    assert found.tolist()[:3] == [1.0, 0.0, 0.5]
    assert np.isnan(found[3:]).all()


def test_tie_aware_accuracy_wants_ties_where_people_see_one() -> None:
    # Right: a preference met and a tie met. Wrong: a tie where people prefer, a preference where they do not.
    assert tie_aware_accuracy(np.array([1, 0, 0, 1]), np.array([1, 0, 1, 0])) == 0.5
    assert tie_aware_accuracy(np.array([1, 0]), np.array([1, 1])) is None


def test_kappa_without_ties_is_twice_the_accuracy_minus_one() -> None:
    # Both ways round, 1 and −1 are half of each side: ½ by chance, (0.75 − ½) / ½.
    assert kappa(np.array([1, 1, -1, 1]), np.array([1, 1, -1, -1])) == 0.5


def test_kappa_with_ties_by_hand() -> None:
    # Agreement 2/4. Ties: 1/4 and 2/4; by chance 1/8 + (3/4 · 2/4) / 2 = 5/16. (8 − 5)/16 over 11/16.
    assert kappa(np.array([1, 0, 1, -1]), np.array([1, 0, 0, 1])) == pytest.approx(3 / 11)


def test_kappa_does_not_care_that_the_better_image_is_always_listed_first() -> None:
    # The textbook's κ of a constant label is 0, however many verdicts are right.
    listed_first = kappa(np.array([1, 1, 1, -1]), np.array([1, 1, 1, 1]))
    assert listed_first == kappa(np.array([1, -1, 1, 1]), np.array([1, -1, 1, -1])) == 0.5


def test_kappa_of_those_who_always_say_the_same_is_one() -> None:
    assert kappa(np.zeros(3, dtype=int), np.zeros(3, dtype=int)) == 1.0


@given(verdicts)
def test_kappa_is_symmetric_at_most_one_and_one_for_equals(pairs: list[tuple[int, int]]) -> None:
    a, b = np.array(pairs).T
    assert kappa(a, b) == pytest.approx(kappa(b, a))
    assert kappa(a, b) <= 1
    assert kappa(a, a) == 1


def test_the_noise_floor_is_what_one_margin_in_twenty_exceeds() -> None:
    assert noise_floor(np.arange(101.0), np.arange(101.0) * 2) == pytest.approx(95.0)
    assert noise_floor(np.array([1.0, 2.0]), np.array([1.0, 2.0])) == 0.0
