from itertools import count

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.judging.callers import CallClass, Caller
from services.judging.scheduling.fair_queue import FairQueue

ANNA, BEN = Caller(tenant="anna"), Caller(tenant="ben")


def filled(*pushes: tuple[str, Caller, int]) -> FairQueue[str]:
    queue: FairQueue[str] = FairQueue()
    for item, caller, cost in pushes:
        queue.push(item, caller=caller, cost=cost)
    return queue


def drained(queue: FairQueue[str]) -> str:
    """Everything queued, in the order in which it is handed out."""
    order = ""
    while (item := queue.pop()) is not None:
        order += item
    return order


def test_an_empty_queue_has_nothing_to_hand_out():
    queue: FairQueue[str] = FairQueue()
    assert queue.pop() is None
    assert (len(queue), queue.cost, list(queue.items())) == (0, 0, [])


def test_one_run_is_served_first_in_first_out():
    assert drained(filled(("a", ANNA, 1), ("b", ANNA, 5), ("c", ANNA, 1))) == "abc"


def test_two_tenants_take_turns_however_much_the_first_one_queued():
    assert drained(filled(("a", ANNA, 2), ("b", ANNA, 2), ("c", ANNA, 2), ("x", BEN, 2), ("y", BEN, 2))) == "axbyc"


def test_turns_are_counted_in_cost_not_in_items():
    assert drained(filled(("a", ANNA, 4), ("b", ANNA, 4), ("w", BEN, 2), ("x", BEN, 2), ("y", BEN, 2))) == "awxby"


def test_a_tenant_gains_nothing_by_splitting_into_runs():
    first, second = Caller(tenant="anna", run="1"), Caller(tenant="anna", run="2")
    queue = filled(("a", first, 1), ("b", first, 1), ("c", second, 1), ("d", second, 1), ("x", BEN, 1), ("y", BEN, 1))
    assert drained(queue) == "axcybd"


def test_the_urgent_class_goes_strictly_first():
    evaluation, learning = Caller(call_class=CallClass.EVALUATION), Caller(call_class=CallClass.LEARNING)
    assert drained(filled(("a", learning, 1), ("b", evaluation, 9), ("c", evaluation, 9), ("d", ANNA, 1))) == "dbca"


def test_classes_of_one_tenant_are_charged_apart():
    learning = [Caller(tenant=tenant, call_class=CallClass.LEARNING) for tenant in ("anna", "ben")]
    queue = filled(("a", ANNA, 100), ("b", learning[0], 1), ("x", learning[1], 1))
    assert drained(queue) == "abx"


def test_a_flow_whose_oldest_item_is_not_eligible_keeps_its_turn():
    queue = filled(("a", ANNA, 1), ("b", ANNA, 1), ("x", BEN, 1), ("y", BEN, 1), ("z", BEN, 1))
    assert [queue.pop(lambda item: item != "a") for _ in range(2)] == ["x", "y"]
    assert drained(queue) == "abz"


def test_a_less_urgent_item_goes_when_no_urgent_one_is_eligible():
    queue = filled(("a", ANNA, 1), ("b", Caller(call_class=CallClass.LEARNING), 1))
    assert queue.pop(lambda item: item == "b") == "b"


def test_nothing_is_handed_out_when_nothing_is_eligible():
    queue = filled(("a", ANNA, 1), ("x", BEN, 1))
    assert queue.pop(lambda _: False) is None
    assert drained(queue) == "ax"


def test_what_left_is_not_handed_out_and_not_charged():
    queue = filled(("a", ANNA, 100), ("b", ANNA, 1), ("x", BEN, 1))
    assert queue.remove("a")
    assert not queue.remove("a")
    assert queue.cost == 2
    assert drained(queue) == "bx"


def test_an_item_can_come_back_after_it_was_handed_out():
    queue = filled(("a", ANNA, 1), ("b", ANNA, 1))
    assert queue.pop() == "a"
    queue.push("a", caller=ANNA, cost=1)
    assert drained(queue) == "ba"


def test_an_item_that_is_queued_cannot_be_queued_again():
    queue = filled(("a", ANNA, 1))
    with pytest.raises(ValueError, match="queued already"):
        queue.push("a", caller=BEN, cost=1)
    assert (len(queue), queue.cost) == (1, 1)


def test_an_item_without_cost_is_refused():
    queue: FairQueue[str] = FairQueue()
    with pytest.raises(ValueError, match="at least 1"):
        queue.push("a", caller=ANNA, cost=0)
    assert len(queue) == 0


def test_work_ahead_of_the_first_is_its_own():
    queue: FairQueue[str] = FairQueue()
    assert queue.work_ahead(ANNA, 7) == 7


def test_work_ahead_counts_others_up_to_ones_own_share():
    first, second = Caller(tenant="anna", run="1"), Caller(tenant="anna", run="2")
    queue = filled(("a", first, 3), ("b", second, 50), ("x", BEN, 4), ("y", Caller(tenant="cleo"), 1000))
    # own run: 3 + 10 = 13; the other run as much, 13: own = 26; ben all his 4, cleo as much as we, 26
    assert queue.work_ahead(first, 10) == 26 + 4 + 26


def test_work_ahead_holds_all_of_the_more_urgent_classes_and_none_of_the_others():
    by_class = {each: Caller(tenant="ben", call_class=each) for each in CallClass}
    queue = filled(*((each.name, caller, 100) for each, caller in by_class.items()))
    anna = Caller(tenant="anna", call_class=CallClass.EVALUATION)
    assert queue.work_ahead(anna, 5) == 100 + 5 + 5


def test_a_run_that_waits_is_served_between_ever_new_runs_of_its_tenant():
    standing = Caller(tenant="anna", run="standing")
    queue = filled(("a", standing, 1), ("b", standing, 1), ("c", standing, 1))
    handed_out = ""
    for number in range(3):
        queue.push(str(number), caller=Caller(tenant="anna", run=f"new {number}"), cost=1)
        handed_out += f"{queue.pop()}{queue.pop()}"
    assert handed_out == "a0b1c2"


def test_an_item_that_advances_is_the_next_of_its_run_and_gains_the_run_no_turn():
    queue = filled(("a", ANNA, 1), ("b", ANNA, 1), ("c", ANNA, 1), ("x", BEN, 1), ("y", BEN, 1))
    queue.advance("c")
    queue.advance("not there")
    assert drained(queue) == "cxayb"


class AnyQueue(RuleBasedStateMachine):
    """Against a plain list of what is queued."""

    def __init__(self):
        super().__init__()
        self.queue: FairQueue[int] = FairQueue()
        self.queued: dict[int, tuple[Caller, int]] = {}
        self.numbers = count()

    @rule(
        tenant=st.sampled_from("abc"),
        run=st.sampled_from("12"),
        call_class=st.sampled_from(CallClass),
        cost=st.integers(1, 9),
    )
    def push(self, tenant, run, call_class, cost):
        item, caller = next(self.numbers), Caller(tenant=tenant, run=run, call_class=call_class)
        self.queue.push(item, caller=caller, cost=cost)
        self.queued[item] = (caller, cost)

    @rule(eligible_remainders=st.sets(st.integers(0, 3)))
    def pop(self, eligible_remainders):
        heads = {caller: item for item, (caller, _) in reversed(self.queued.items())}
        eligible = {caller: item for caller, item in heads.items() if item % 4 in eligible_remainders}
        popped = self.queue.pop(lambda item: item % 4 in eligible_remainders)
        if not eligible:
            assert popped is None
            return
        assert popped is not None
        assert popped in eligible.values()
        assert self.queued.pop(popped)[0].call_class == min(caller.call_class for caller in eligible)

    @precondition(lambda self: self.queued)
    @rule(data=st.data())
    def remove(self, data):
        item = data.draw(st.sampled_from(sorted(self.queued)))
        assert self.queue.remove(item)
        del self.queued[item]
        assert not self.queue.remove(item)

    @rule(tenant=st.sampled_from("abcd"), call_class=st.sampled_from(CallClass), cost=st.integers(1, 9))
    def estimate(self, tenant, call_class, cost):
        ahead = self.queue.work_ahead(Caller(tenant=tenant, run="1", call_class=call_class), cost)
        own_and_urgent = cost + sum(c for caller, c in self.queued.values() if caller.call_class < call_class)
        not_later = cost + sum(c for caller, c in self.queued.values() if caller.call_class <= call_class)
        assert own_and_urgent <= ahead <= not_later

    @invariant()
    def it_holds_what_is_queued_and_nothing_else(self):
        assert list(self.queue.items()) == list(self.queued)
        assert len(self.queue) == len(self.queued)
        assert self.queue.cost == sum(cost for _, cost in self.queued.values())

    def teardown(self):
        """Everything comes out in the end, every run in its own order."""
        order: dict[Caller, list[int]] = {}
        while (item := self.queue.pop()) is not None:
            order.setdefault(self.queued.pop(item)[0], []).append(item)
        assert not self.queued
        assert all(items == sorted(items) for items in order.values())


TestAnyQueue = AnyQueue.TestCase
