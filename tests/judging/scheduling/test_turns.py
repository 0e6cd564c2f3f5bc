from hypothesis import given
from hypothesis import strategies as st

from services.judging.scheduling.turns import Flow, Turns

costs = st.integers(1, 20)


def serve_next(turns: Turns[Flow], names: dict[int, str], cost: int) -> str:
    """Serve `cost` of the flow whose turn it is; returns its name."""
    name = names[id(next(iter(turns)))]
    turns.charge(name, cost)
    return name


@given(st.lists(costs, min_size=1, max_size=200), st.integers(2, 5))
def test_flows_that_always_wait_are_never_further_apart_than_their_largest_items(sizes, num_flows):
    """Theorem 1 of Goyal, Vin & Cheng: |W_f − W_m| ≤ l_f + l_m over any time in which both f and m wait."""
    turns: Turns[Flow] = Turns(Flow)
    names = {id(turns.grow(str(number), 10**9)): str(number) for number in range(num_flows)}
    served = dict.fromkeys(names.values(), 0)
    largest = dict.fromkeys(names.values(), 0)
    history = [dict(served)]
    for cost in sizes:
        name = serve_next(turns, names, cost)
        served[name] += cost
        largest[name] = max(largest[name], cost)
        history.append(dict(served))
    for earlier in history:
        gained = {name: served[name] - earlier[name] for name in served}
        for f in served:
            for m in served:
                assert abs(gained[f] - gained[m]) <= largest[f] + largest[m]


def test_a_flow_that_comes_back_lines_up_behind_what_was_served_meanwhile():
    turns: Turns[Flow] = Turns(Flow)
    turns.grow("sleeper", 1)
    turns.shrink("sleeper", 1)
    worker = turns.grow("worker", 100)
    for _ in range(50):
        turns.charge("worker", 1)
        turns.shrink("worker", 1)
    sleeper = turns.grow("sleeper", 100)
    assert list(turns) == [worker, sleeper]
    turns.charge("worker", 1)
    assert list(turns) == [sleeper, worker]


def test_leaving_and_coming_back_earns_nothing():
    turns: Turns[Flow] = Turns(Flow)
    turns.grow("leaver", 100)
    turns.charge("leaver", 30)
    turns.shrink("leaver", 100)
    patient = turns.grow("patient", 100)
    leaver = turns.grow("leaver", 100)
    assert list(turns) == [patient, leaver]


def test_a_flow_without_anything_queued_is_forgotten():
    turns: Turns[Flow] = Turns(Flow)
    for number in range(1000):
        name = f"run-{number}"
        turns.grow(name, 3)
        turns.charge(name, 3)
        turns.shrink(name, 3)
        assert name not in turns
    assert list(turns) == []
    assert turns.cost == 0


def test_a_flow_that_waits_is_not_starved_by_ever_new_ones():
    turns: Turns[Flow] = Turns(Flow)
    old = turns.grow("old", 1000)
    num_served = 0
    for number in range(100):
        turns.grow(f"new-{number}", 1)
        for _ in range(2):  # twice as fast as new flows come
            flow = next(iter(turns))
            name = "old" if flow is old else f"new-{number}"
            turns.charge(name, 1)
            turns.shrink(name, 1)
            num_served += flow is old
    assert num_served == 100


def test_a_flow_that_catches_up_does_not_turn_time_back_for_newcomers():
    turns: Turns[Flow] = Turns(Flow)
    passed_over = turns.grow("passed over", 100)
    worker = turns.grow("worker", 100)
    turns.charge("worker", 10)
    turns.charge("passed over", 1)
    newcomer = turns.grow("newcomer", 100)
    assert list(turns) == [passed_over, worker, newcomer]
