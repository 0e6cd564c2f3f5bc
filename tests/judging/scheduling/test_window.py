import math

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.judging.scheduling.window import Window


def succeed(window: Window, times: int, *, now: float = 1.0, was_full: bool = True) -> None:
    for _ in range(times):
        window.on_success(sent_at=now - 0.5, was_full=was_full, now=now)


def test_before_any_congestion_every_success_of_a_full_window_adds_one():
    window = Window(initial=4)
    succeed(window, 3)
    assert window.limit == 7


def test_after_congestion_a_whole_window_of_successes_adds_one():
    window = Window(initial=20)
    window.on_congestion(sent_at=0.0, now=0.1)
    assert window.limit == 17
    succeed(window, 17)  # each adds 2 and a little to the square: √(17² + 2·17 + …) = 17.97
    assert window.limit == 17
    succeed(window, 1)
    assert window.limit == 18


def test_a_window_that_was_not_full_does_not_grow():
    window = Window(initial=4)
    succeed(window, 100, was_full=False)
    assert window.limit == 4


def test_the_window_never_grows_beyond_its_maximum():
    window = Window(initial=4, maximum=6)
    succeed(window, 100)
    assert window.limit == 6


def test_congestion_takes_15_percent_off_the_window_but_never_the_last_call():
    window = Window(initial=4)
    limits = []
    for second in range(12):
        window.on_congestion(sent_at=second + 0.5, now=second + 1.0)
        limits.append(window.limit)  # 3.40, 2.89, 2.46, 2.09, 1.77, 1.51, 1.28, 1.09, 1
    assert limits == [3, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1]
    succeed(window, 1, now=20.0)
    assert window.limit == 2


def test_all_refusals_of_one_round_trip_are_one_cut():
    window = Window(initial=100)
    for sent_at in (0.0, 0.3, 0.9):
        window.on_congestion(sent_at=sent_at, now=1.0)
    assert window.limit == 85
    window.on_congestion(sent_at=1.1, now=1.2)
    assert window.limit == 72  # 72.25


def test_successes_of_calls_sent_before_the_cut_do_not_undo_it():
    window = Window(initial=2)
    window.on_congestion(sent_at=0.5, now=1.0)
    for _ in range(10):
        window.on_success(sent_at=0.5, was_full=True, now=1.1)
    assert window.limit == 1


def test_a_long_queue_at_the_server_takes_a_tenth_off_once_a_second():
    window = Window(initial=100)
    for now in (10.0, 10.5, 10.9):
        window.on_server_queue(running=8, waiting=3, now=now)
    assert window.limit == 90
    window.on_server_queue(running=8, waiting=3, now=11.0)
    assert window.limit == 81


@pytest.mark.parametrize(("running", "waiting"), [(0, 2), (8, 2), (40, 10), (0, 0)])
def test_a_short_queue_at_the_server_is_welcome(running, waiting):
    window = Window(initial=10)
    window.on_server_queue(running=running, waiting=waiting, now=1.0)
    succeed(window, 1, now=2.0)
    assert window.limit == 11


def test_a_long_queue_at_the_server_holds_growth_until_it_is_short_again():
    window = Window(initial=10)
    window.on_server_queue(running=4, waiting=5, now=1.0)
    succeed(window, 50, now=2.0)
    assert window.limit == 9
    window.on_server_queue(running=4, waiting=1, now=2.1)
    succeed(window, 10, now=2.2)  # 1/9 each: the slow start is over
    assert window.limit == 10


def test_a_replica_whose_metrics_stop_coming_is_not_held_for_ever():
    window = Window(initial=10)
    window.on_server_queue(running=4, waiting=5, now=1.0)
    succeed(window, 10, now=5.9)
    assert window.limit == 9
    succeed(window, 10, now=6.0)
    assert window.limit == 10


def test_the_queue_seen_right_after_a_cut_is_not_counted_again():
    window = Window(initial=100)
    window.on_congestion(sent_at=0.0, now=1.0)
    window.on_server_queue(running=4, waiting=50, now=1.5)
    assert window.limit == 85
    window.on_server_queue(running=4, waiting=50, now=2.0)
    assert window.limit == 76  # 76.5


@pytest.mark.parametrize(("initial", "maximum"), [(0, 4), (5, 4)])
def test_a_window_that_cannot_be_is_refused(initial, maximum):
    with pytest.raises(ValueError, match="initial <= maximum"):
        Window(initial=initial, maximum=maximum)


class AnyWindow(RuleBasedStateMachine):
    """Whatever is reported in whatever order, the window moves only as promised."""

    def __init__(self):
        super().__init__()
        self.window = Window(initial=10, maximum=40)
        self.now = 0.0
        self.last_cut = -math.inf

    @rule(seconds=st.floats(0.01, 3.0))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(age=st.floats(0.0, 3.0), was_full=st.booleans())
    def a_call_succeeds(self, age, was_full):
        before = self.window.limit
        self.window.on_success(sent_at=self.now - age, was_full=was_full, now=self.now)
        assert before <= self.window.limit <= before + was_full

    @rule(age=st.floats(0.0, 3.0))
    def a_call_is_refused(self, age):
        before, sent_at = self.window.limit, self.now - age
        self.window.on_congestion(sent_at=sent_at, now=self.now)
        if sent_at <= self.last_cut:
            assert self.window.limit == before
        else:
            assert max(1, 0.85 * before - 1) <= self.window.limit <= max(1, 0.85 * (before + 1))
            self.last_cut = self.now

    @rule(running=st.integers(0, 50), waiting=st.integers(0, 50))
    def the_server_reports_its_queue(self, running, waiting):
        before = self.window.limit
        self.window.on_server_queue(running=running, waiting=waiting, now=self.now)
        is_long = waiting > max(2, running / 4)
        assert (0.9 * before - 1 if is_long else before) <= self.window.limit <= before

    @precondition(lambda self: self.window.limit < 40)
    @rule()
    def enough_successes_always_grow_it_again(self):
        self.now += 6.0
        before = self.window.limit
        for _ in range(before + 2):
            self.window.on_success(sent_at=self.now - 0.001, was_full=True, now=self.now)
        assert self.window.limit > before

    @invariant()
    def it_stays_between_one_and_its_maximum(self):
        assert 1 <= self.window.limit <= 40


TestAnyWindow = AnyWindow.TestCase
