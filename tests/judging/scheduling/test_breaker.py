import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.judging.scheduling.breaker import Breaker, BreakerState


def whole_pause() -> float:
    return 1.0


@pytest.fixture
def breaker() -> Breaker:
    return Breaker(threshold=3, first_pause_seconds=0.5, max_pause_seconds=10.0, jitter=whole_pause)


def fail(breaker: Breaker, times: int, *, now: float = 0.0) -> None:
    for _ in range(times):
        breaker.on_failure(now=now)


def test_a_new_breaker_is_closed_and_asks_for_no_probe(breaker):
    assert breaker.is_closed
    assert breaker.next_probe_at is None
    assert not breaker.may_probe(now=1e9)


def test_three_failures_in_a_row_open_it(breaker):
    fail(breaker, 2)
    assert breaker.is_closed
    fail(breaker, 1, now=7.0)
    assert breaker.state is BreakerState.OPEN
    assert breaker.next_probe_at == 7.5


def test_a_success_in_between_starts_the_count_again(breaker):
    fail(breaker, 2)
    breaker.on_success()
    fail(breaker, 2)
    assert breaker.is_closed


def test_one_probe_is_let_through_when_the_pause_is_over_and_no_second_one(breaker):
    breaker.trip(now=0.0)
    assert not breaker.may_probe(now=0.49)
    assert breaker.may_probe(now=0.5)
    assert breaker.state is BreakerState.HALF_OPEN
    assert not breaker.is_closed
    assert not breaker.may_probe(now=100.0)


def test_a_probe_that_succeeds_closes_it(breaker):
    breaker.trip(now=0.0)
    breaker.may_probe(now=0.5)
    breaker.on_success()
    assert breaker.is_closed
    fail(breaker, 2)
    assert breaker.is_closed


def test_every_failed_probe_doubles_the_pause_up_to_the_longest(breaker):
    now, pauses = 0.0, []
    breaker.trip(now=now)
    for _ in range(7):
        assert breaker.next_probe_at is not None
        pauses.append(breaker.next_probe_at - now)
        now = breaker.next_probe_at
        assert breaker.may_probe(now=now)
        breaker.on_failure(now=now)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_after_it_has_closed_the_first_pause_is_short_again(breaker):
    breaker.trip(now=0.0)
    breaker.may_probe(now=0.5)
    breaker.on_failure(now=0.5)
    breaker.may_probe(now=1.5)
    breaker.on_success()
    breaker.trip(now=20.0)
    assert breaker.next_probe_at == 20.5


def test_failures_of_calls_that_were_under_way_when_it_opened_do_not_lengthen_the_pause(breaker):
    fail(breaker, 3)
    fail(breaker, 100, now=0.4)
    breaker.trip(now=0.4)
    assert breaker.next_probe_at == 0.5


def test_an_answer_closes_an_open_breaker(breaker):
    breaker.trip(now=0.0)
    breaker.on_success()
    assert breaker.is_closed
    assert breaker.next_probe_at is None


@pytest.mark.parametrize(("draw", "pause"), [(0.0, 0.25), (0.5, 0.375), (1.0, 0.5)])
def test_chance_takes_up_to_half_of_a_pause(draw, pause):
    breaker = Breaker(first_pause_seconds=0.5, jitter=lambda: draw)
    breaker.trip(now=0.0)
    assert breaker.next_probe_at == pause


class AnyBreaker(RuleBasedStateMachine):
    """Against a model that only counts."""

    def __init__(self):
        super().__init__()
        self.breaker = Breaker(threshold=3, first_pause_seconds=1.0, max_pause_seconds=4.0)
        self.now = 0.0
        self.opened_at = 0.0
        self.num_in_a_row = 0
        self.is_probing = False

    @rule(seconds=st.floats(0.1, 5.0))
    def time_passes(self, seconds):
        self.now += seconds

    @rule()
    def a_call_succeeds(self):
        self.breaker.on_success()
        self.num_in_a_row, self.is_probing = 0, False
        assert self.breaker.is_closed

    @rule()
    def a_call_fails(self):
        was_open = self.breaker.state is BreakerState.OPEN
        self.num_in_a_row += 1
        must_open = self.is_probing or self.num_in_a_row >= 3
        self.breaker.on_failure(now=self.now)
        assert self.breaker.is_closed is not (must_open or was_open)
        self.note_opening(was_open)

    @rule()
    def somebody_trips_it(self):
        was_open = self.breaker.state is BreakerState.OPEN
        self.breaker.trip(now=self.now)
        assert self.breaker.state is BreakerState.OPEN
        self.note_opening(was_open)

    @rule()
    def somebody_asks_to_probe(self):
        due = self.breaker.next_probe_at
        may = self.breaker.may_probe(now=self.now)
        assert may is (due is not None and self.now >= due)
        self.is_probing = self.is_probing or may

    def note_opening(self, was_open: bool) -> None:
        if not was_open and self.breaker.state is BreakerState.OPEN:
            self.opened_at, self.is_probing = self.now, False

    @invariant()
    def only_an_open_breaker_waits_for_a_probe(self):
        assert (self.breaker.next_probe_at is not None) is (self.breaker.state is BreakerState.OPEN)
        assert self.is_probing is (self.breaker.state is BreakerState.HALF_OPEN)

    @invariant()
    def every_pause_is_within_its_bounds(self):
        if self.breaker.next_probe_at is not None:
            pause = self.breaker.next_probe_at - self.opened_at
            assert 0.5 - 1e-9 <= pause <= 4.0 + 1e-9


TestAnyBreaker = AnyBreaker.TestCase
