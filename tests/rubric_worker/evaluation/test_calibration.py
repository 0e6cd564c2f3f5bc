import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rubric_worker.evaluation.calibration import (
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    fit,
    fit_temperature,
    fit_tie_margin,
)
from services.rubric_worker.evaluation.confidence import sigmoid

DATASET = f"sha256:{1:064x}"


@pytest.mark.parametrize("truth", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_labels_is_found(truth: float) -> None:
    generator = np.random.default_rng(0)
    margins = generator.normal(0, 3, 50_000)
    labels = np.where(generator.random(50_000) < sigmoid(margins / truth), 1, -1)
    assert fit_temperature(margins, labels) == pytest.approx(truth, rel=0.03)


def test_equal_margins_get_the_temperature_of_their_success() -> None:
    # Six of eight right: p = (6·t + 2·(1 − t)) / 8 with the target t = 9/10, so p = 0.7 and T = m / log(0.7/0.3).
    labels = np.array([1] * 6 + [-1] * 2)
    assert fit_temperature(np.full(8, 2.0), labels) == pytest.approx(2 / math.log(7 / 3))


def test_pairs_that_are_all_right_make_nobody_certain() -> None:
    # Four of four: p = 5/6, Laplace's rule of succession.
    assert fit_temperature(np.full(4, 2.0), np.ones(4, dtype=int)) == pytest.approx(2 / math.log(5))


def test_margins_that_say_nothing_leave_the_temperature_alone() -> None:
    assert fit_temperature(np.zeros(3), np.array([1, -1, 1])) == 1.0


def test_margins_that_are_always_wrong_end_the_search() -> None:
    assert fit_temperature(np.full(5, 2.0), np.full(5, -1)) == pytest.approx(MAX_TEMPERATURE)


def test_the_tie_margin_lies_between_what_people_call_a_tie_and_what_they_do_not() -> None:
    assert fit_tie_margin(np.array([0.1, -0.3, 0.2, 0.9, -1.0]), np.array([0, 0, 0, 1, -1])) == pytest.approx(0.6)


def test_of_equally_good_tie_margins_the_smallest_is_taken() -> None:
    # Narrowest first: a tie (+1), a preference that is right (−1), a tie (+1).
    assert fit_tie_margin(np.array([0.1, 0.2, 0.4]), np.array([0, 1, 0])) == pytest.approx(0.15)


def test_a_wrong_preference_costs_nothing_to_give_up() -> None:
    assert fit_tie_margin(np.array([0.1, 0.2, 0.4]), np.array([-1, 0, 1])) == pytest.approx(0.3)


def test_equal_margins_are_all_ties_or_none() -> None:
    assert fit_tie_margin(np.array([0.5, 0.5, 0.5]), np.array([0, 1, 1])) == 0.0
    assert fit_tie_margin(np.array([0.5, -0.5]), np.array([0, 0])) > 0.5


def test_the_tie_margin_is_the_largest_of_what_is_known() -> None:
    margins, labels = np.array([2.0, -1.0, 1.5]), np.array([1, -1, -1])

    def tie_margin(margins=margins, labels=labels, noise_floor: float | None = None) -> float:
        found = fit(margins, labels, default_tie_margin=0.05, noise_floor=noise_floor, dataset=DATASET)
        return found.tie_margin

    assert tie_margin() == 0.05
    assert tie_margin(noise_floor=0.2) == 0.2
    assert tie_margin(noise_floor=0.01) == 0.05
    with_ties = np.concatenate([margins, [0.3, -0.2, 0.1, 0.4, 0.5]])
    assert tie_margin(with_ties, np.concatenate([labels, [0] * 5])) == pytest.approx(0.75)
    four_ties = np.concatenate([margins, [0.3, -0.2, 0.1, 0.4]])
    assert tie_margin(four_ties, np.concatenate([labels, [0] * 4])) == 0.05


def test_a_calibration_says_what_it_was_fitted_on() -> None:
    margins, labels = np.array([2.0, 2.0, 2.0, 0.1]), np.array([1, 1, -1, 0])
    found = fit(margins, labels, default_tie_margin=0.05, noise_floor=None, dataset=DATASET, job=7)
    assert (found.num_pairs, found.dataset, found.job) == (3, DATASET, 7)
    # Target 4/5: p = (2·⁴⁄₅ + ⅕) / 3 = 3/5 where 2/3 are right.
    assert found.ece == pytest.approx(2 / 3 - 3 / 5)


@given(st.lists(st.tuples(st.floats(-50, 50), st.sampled_from([-1, 0, 1])), min_size=1), st.data())
def test_a_temperature_is_in_bounds_and_swapping_images_changes_nothing(
    pairs: list[tuple[float, int]], data: st.DataObject
) -> None:
    margins, labels = (np.array(column) for column in zip(*pairs, strict=True))
    signs = np.array(data.draw(st.lists(st.sampled_from([-1, 1]), min_size=len(pairs), max_size=len(pairs))))
    assert MIN_TEMPERATURE <= fit_temperature(margins, labels) <= MAX_TEMPERATURE
    assert fit_temperature(margins, labels) == fit_temperature(margins * signs, labels * signs)
    assert fit_tie_margin(margins, labels) == fit_tie_margin(margins * signs, labels * signs)
