import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.judging.scheduling.estimate import CallSeconds, seconds_until_done


def test_before_the_first_call_nothing_is_known():
    assert CallSeconds().mean is None


def test_the_first_duration_is_the_mean():
    seconds = CallSeconds(weight=0.1)
    seconds.observe(4.0)
    assert seconds.mean == 4.0


def test_later_durations_move_the_mean_by_their_weight():
    seconds = CallSeconds(weight=0.25)
    seconds.observe(4.0)
    seconds.observe(8.0)
    assert seconds.mean == 5.0


@given(st.lists(st.floats(0.001, 600.0), min_size=1))
def test_the_mean_lies_among_the_durations(durations):
    seconds = CallSeconds()
    for duration in durations:
        seconds.observe(duration)
    assert seconds.mean is not None
    assert min(durations) - 1e-9 <= seconds.mean <= max(durations) + 1e-9


def test_a_hundred_calls_through_a_window_of_ten_take_ten_rounds_and_the_last_call():
    assert seconds_until_done(work_ahead=100, window=10, call_seconds=0.5) == 5.5


def test_nobody_waits_on_an_unknown_duration():
    assert seconds_until_done(work_ahead=10**6, window=1, call_seconds=None) == 0.0


@pytest.mark.parametrize("window", [0, 1])
def test_a_window_of_nothing_counts_as_one_call(window):
    assert seconds_until_done(work_ahead=3, window=window, call_seconds=2.0) == 8.0
