import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.judging.scheduling.prefixes import Prefixes, PrefixState, worth_leading


def test_a_prefix_is_cold_until_a_leader_has_read_it():
    prefixes = Prefixes()
    states = [prefixes.state("rubric")]
    prefixes.begin("rubric")
    states.append(prefixes.state("rubric"))
    prefixes.finish("rubric", ok=True)
    states.append(prefixes.state("rubric"))
    assert states == [PrefixState.COLD, PrefixState.WARMING, PrefixState.WARM]


def test_a_leader_that_fails_leaves_the_prefix_cold():
    prefixes = Prefixes()
    prefixes.begin("rubric")
    prefixes.finish("rubric", ok=False)
    assert prefixes.state("rubric") is PrefixState.COLD


@pytest.mark.parametrize("ok", [True, False])
def test_what_ends_later_does_not_change_a_warm_prefix(ok):
    prefixes = Prefixes()
    prefixes.begin("rubric")
    prefixes.finish("rubric", ok=True)
    prefixes.begin("rubric")
    prefixes.finish("rubric", ok=ok)
    assert prefixes.state("rubric") is PrefixState.WARM


@pytest.mark.parametrize(("ok", "state"), [(True, PrefixState.WARM), (False, PrefixState.COLD)])
def test_an_answer_without_a_leader_warms_the_prefix_too_and_a_failure_leaves_it_cold(ok, state):
    prefixes = Prefixes()
    prefixes.finish("rubric", ok=ok)
    assert prefixes.state("rubric") is state


def test_a_restarted_server_knows_nothing_even_of_leaders_under_way():
    prefixes = Prefixes()
    prefixes.begin("read")
    prefixes.finish("read", ok=True)
    prefixes.begin("being read")
    prefixes.forget()
    assert prefixes.state("read") is PrefixState.COLD
    assert prefixes.state("being read") is PrefixState.COLD


@pytest.mark.parametrize(("ok", "state"), [(True, PrefixState.WARM), (False, PrefixState.COLD)])
def test_an_answer_from_before_a_restart_shows_that_there_was_none(ok, state):
    prefixes = Prefixes()
    prefixes.begin("rubric")
    prefixes.forget()
    prefixes.finish("rubric", ok=ok)
    assert prefixes.state("rubric") is state


def test_the_prefix_that_was_not_used_for_longest_is_forgotten_first():
    prefixes = Prefixes(capacity=2)
    prefixes.begin("a")
    prefixes.begin("b")
    prefixes.state("a")
    prefixes.begin("c")
    assert [prefixes.state(each) for each in "abc"] == [PrefixState.WARMING, PrefixState.COLD, PrefixState.WARMING]


@given(st.lists(st.tuples(st.sampled_from(["begin", "ok", "failed"]), st.sampled_from("abcdef"))))
def test_no_more_prefixes_are_known_than_there_is_room_for(events):
    prefixes = Prefixes(capacity=3)
    for event, prefix in events:
        if event == "begin":
            prefixes.begin(prefix)
        else:
            prefixes.finish(prefix, ok=event == "ok")
    assert sum(prefixes.state(each) is not PrefixState.COLD for each in "abcdef") <= 3


def test_prefixes_without_room_for_one_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        Prefixes(capacity=0)


@pytest.mark.parametrize(
    ("prefix_chars", "num_followers", "has_image", "is_worth_it"),
    [
        (2_000, 3, False, True),
        (1_999, 3, False, False),
        (2_000, 2, False, False),
        (0, 3, True, True),
        (100_000, 1, True, False),  # the two orders of a lone pair
    ],
)
def test_leading_pays_for_several_followers_of_a_long_prefix(prefix_chars, num_followers, has_image, is_worth_it):
    assert worth_leading(prefix_chars=prefix_chars, num_followers=num_followers, has_image=has_image) is is_worth_it
