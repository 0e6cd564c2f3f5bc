import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.rubric_worker.methods.arr.coding_rate import EPSILON, CodingRate, coding_rate
from services.rubric_worker.methods.embeddings import unit_rows

shapes = st.tuples(st.integers(1, 8), st.integers(1, 6), st.integers(0, 10_000))


def rows_of(shape: tuple[int, int, int]) -> NDArray[np.floating[Any]]:
    num_rows, num_dimensions, seed = shape
    return unit_rows(np.random.default_rng(seed).normal(size=(num_rows, num_dimensions)))


def naive(rows: NDArray[np.floating[Any]], num_candidates: int) -> float:
    """½ log det(I + d/(n ε²) X Xᵀ), written down once more."""
    scale = rows.shape[1] / (num_candidates * EPSILON**2)
    return math.log(np.linalg.det(np.eye(len(rows)) + scale * rows @ rows.T)) / 2


def test_one_row_of_two_dimensions_out_of_four() -> None:
    # d/(n ε²) = 2/(4 · 0.01) = 50, so R = ½ log(1 + 50).
    assert coding_rate(np.array([[1.0, 0.0]]), num_candidates=4) == pytest.approx(math.log(51) / 2)


def test_orthogonal_rows_add_up_and_equal_ones_hardly_do() -> None:
    one, other = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    rate = coding_rate(one, num_candidates=4)
    assert coding_rate(np.vstack([one, other]), num_candidates=4) == pytest.approx(2 * rate)
    assert coding_rate(np.vstack([one, one]), num_candidates=4) == pytest.approx(math.log(101) / 2)


def test_nothing_takes_up_no_room() -> None:
    assert coding_rate(np.empty((0, 3)), num_candidates=4) == 0


@settings(deadline=None)
@given(shapes)
def test_the_rate_is_the_naive_determinant(shape: tuple[int, int, int]) -> None:
    rows = rows_of(shape)
    assert coding_rate(rows, num_candidates=9) == pytest.approx(naive(rows, 9))


@settings(deadline=None)
@given(shapes)
def test_gains_are_differences_of_rates_and_never_grow(shape: tuple[int, int, int]) -> None:
    rows = rows_of(shape)
    rate = CodingRate(rows.shape[1], num_candidates=len(rows))
    gains = rate.gains(rows)
    for number, row in enumerate(rows):
        chosen = rows[:number]
        before = naive(chosen, len(rows)) if number else 0.0
        wanted = [naive(np.vstack([chosen, other]), len(rows)) - before for other in rows]
        assert rate.gains(rows) == pytest.approx(wanted, abs=1e-8)
        rate.add(row)
        assert np.all(rate.gains(rows) <= gains + 1e-8)
        gains = rate.gains(rows)
