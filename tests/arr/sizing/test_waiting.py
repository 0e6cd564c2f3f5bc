"""The queueing model, against cases that have an answer on paper."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arr.sizing.waiting import Runs, balance, wait_seconds


def runs(
    *, count: int = 1, sample: float = 8.0, other: float = 0.0, micro_batches: int = 4, calls: float = 1.0
) -> Runs:
    return Runs(count=count, sample_seconds=sample, other_seconds=other, micro_batches=micro_batches, calls=calls)


def test_a_judge_that_keeps_up_is_waited_for_after_the_last_micro_batch_alone() -> None:
    assert wait_seconds(runs(), work_seconds=2.0, floor_seconds=0.1) == pytest.approx(0.1 + 2.0 / 4)


def test_a_judge_that_does_not_keep_up_has_had_work_since_the_first_micro_batch() -> None:
    assert wait_seconds(runs(), work_seconds=20.0, floor_seconds=0.1) == pytest.approx(0.1 + 20.0 - 6.0)


def test_one_micro_batch_overlaps_with_nothing() -> None:
    assert wait_seconds(runs(micro_batches=1), work_seconds=2.0, floor_seconds=0.0) == 2.0


def test_a_run_alone_has_the_whole_judge() -> None:
    found = balance([runs(micro_batches=1, other=2.0, calls=50)], capacity=10.0, floor_seconds=0.0)
    assert found.steps[0].seconds == pytest.approx(8 + 2 + 5)
    assert found.steps[0].wait_share == pytest.approx(1 / 3)
    assert found.utilisation == pytest.approx(1 / 3)


def test_two_runs_meet_as_often_as_the_approximation_says() -> None:
    """Z = 10, D = 5: W = 5 · (1 + W / (10 + W)), so W² = 50."""
    found = balance([runs(count=2, sample=10.0, micro_batches=1, calls=5)], capacity=1.0, floor_seconds=0.0)
    assert found.steps[0].wait_seconds == pytest.approx(math.sqrt(50))


def test_runs_that_do_nothing_but_wait_share_the_judge_equally() -> None:
    found = balance([runs(count=16, sample=1e-6, micro_batches=1, calls=4)], capacity=8.0, floor_seconds=0.0)
    assert found.steps[0].seconds == pytest.approx(16 * 4 / 8, rel=1e-3)
    assert found.utilisation == pytest.approx(1.0, rel=1e-3)


@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(1, 300),
    sample=st.floats(0.1, 100.0),
    other=st.floats(0.0, 100.0),
    micro_batches=st.integers(1, 8),
    calls=st.floats(0.1, 1000.0),
    capacity=st.floats(0.1, 1000.0),
)
def test_more_capacity_never_makes_anybody_wait_longer(
    count: int, sample: float, other: float, micro_batches: int, calls: float, capacity: float
) -> None:
    fleet = [runs(count=count, sample=sample, other=other, micro_batches=micro_batches, calls=calls)]
    less, more = (balance(fleet, capacity=each, floor_seconds=0.1) for each in (capacity, 2 * capacity))
    assert more.steps[0].wait_seconds <= less.steps[0].wait_seconds * (1 + 1e-6)
    assert 0.0 < more.utilisation <= 1.0
    assert less.steps[0].seconds == pytest.approx(sample + other + less.steps[0].wait_seconds)
