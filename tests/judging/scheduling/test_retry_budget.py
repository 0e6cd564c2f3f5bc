from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from services.judging.scheduling.retry_budget import RetryBudget


def take_all(budget: RetryBudget) -> int:
    num_taken = 0
    while budget.take():
        num_taken += 1
    return num_taken


def test_the_reserve_can_be_spent_before_any_call():
    assert take_all(RetryBudget(reserve=3)) == 3


def test_ten_calls_buy_one_retry():
    budget = RetryBudget(ratio=0.1, reserve=0)
    for _ in range(9):
        budget.on_call()
    assert not budget.take()
    budget.on_call()
    assert budget.take()
    assert not budget.take()


def test_a_long_quiet_time_saves_up_no_more_than_the_reserve_and_ten():
    budget = RetryBudget(ratio=0.1, reserve=5)
    for _ in range(100_000):
        budget.on_call()
    assert take_all(budget) == 15


def test_without_ratio_and_reserve_nothing_is_retried():
    budget = RetryBudget(ratio=0.0, reserve=0)
    budget.on_call()
    assert not budget.take()


@given(
    st.lists(st.booleans(), max_size=500),
    st.integers(0, 1000).map(lambda parts: Fraction(parts, 1000)),
    st.integers(0, 20),
)
def test_retries_never_exceed_the_ratio_of_calls_and_the_reserve(is_call_list, ratio, reserve):
    budget = RetryBudget(ratio=float(ratio), reserve=reserve)
    num_calls = num_retries = 0
    for is_call in is_call_list:
        if is_call:
            budget.on_call()
            num_calls += 1
        else:
            num_retries += budget.take()
        assert num_retries <= ratio * num_calls + reserve


def test_a_judge_that_fails_everything_is_asked_a_tenth_more_than_necessary():
    budget = RetryBudget(ratio=0.1, reserve=10)
    num_retries = 0
    for _ in range(10_000):
        budget.on_call()
        num_retries += budget.take()
    assert num_retries == 1_010
