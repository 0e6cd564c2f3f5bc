"""Which way of asking comes next, whatever a server says."""

import random
from collections.abc import Callable
from typing import TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from services.judging.ladder import MOST_TRIALS, Capability, Ladder, Style

Verdict: TypeAlias = str | None
"""What came of a way: `works`, `prose`, `cut off`, a parameter that is blamed, or None for a refusal without a word."""


def climb(ladder: Ladder, respond: Callable[[Style], Verdict]) -> list[Style]:
    """The ways tried, down to the one that works or to the end."""
    tried: list[Style] = []
    for style in ladder:
        tried.append(style)
        match respond(style):
            case "works":
                break
            case "prose" | "cut off" as answer:
                ladder.unreadable(style, cut_off=answer == "cut off")
            case blamed:
                ladder.refused(style, blamed=blamed)
    return tried


def names(tried: list[Style]) -> list[str]:
    return [style.name for style in tried]


def test_a_server_that_takes_everything_is_asked_once() -> None:
    assert names(climb(Ladder(has_label_tokens=True), lambda _: "works")) == ["logprob_token_ids"]
    assert names(climb(Ladder(has_label_tokens=False), lambda _: "works")) == ["top_logprobs=20"]


def test_a_server_that_refuses_everything_without_a_word_is_asked_every_way() -> None:
    tried = climb(Ladder(has_label_tokens=True), lambda _: None)
    assert len(tried) == MOST_TRIALS
    assert {style.capability for style in tried} == set(Capability)


def test_a_server_that_answers_in_prose_is_asked_each_way_once_and_given_no_more_room() -> None:
    assert names(climb(Ladder(has_label_tokens=True), lambda _: "prose")) == [
        "logprob_token_ids",
        "top_logprobs=20",
        "top_logprobs=5",
        "json_schema, 64 tokens",
        "json_object, 64 tokens",
        "text, 64 tokens",
    ]


def test_a_server_that_is_cut_off_is_given_more_room() -> None:
    def respond(style: Style) -> Verdict:
        return "works" if style.max_tokens > 100 else "cut off"

    assert names(climb(Ladder(has_label_tokens=False), respond))[-2:] == [
        "json_schema, 64 tokens",
        "json_schema, 1024 tokens",
    ]


def test_a_parameter_that_is_blamed_is_not_sent_again() -> None:
    tried = climb(Ladder(has_label_tokens=False), lambda style: "logprobs" if "logprobs" in style.traits else "works")
    assert names(tried) == ["top_logprobs=20", "json_schema, 64 tokens"]


def test_a_value_that_is_blamed_leaves_other_values_to_try() -> None:
    tried = climb(Ladder(has_label_tokens=False), lambda s: "top_logprobs" if s.top_logprobs == 20 else "works")
    assert names(tried) == ["top_logprobs=20", "top_logprobs=5"]


@given(st.integers(), st.booleans())
def test_no_server_is_asked_the_same_way_twice_or_more_often_than_promised(seed: int, has_label_tokens: bool) -> None:
    dice = random.Random(seed)

    def respond(style: Style) -> Verdict:
        return dice.choice([None, "prose", "cut off", "elsewhere", *style.traits])

    tried = climb(Ladder(has_label_tokens=has_label_tokens), respond)
    assert 1 <= len(tried) <= MOST_TRIALS
    assert len(set(tried)) == len(tried)
    order = list(Capability)
    ranks = [order.index(style.capability) for style in tried]
    assert ranks == sorted(ranks)


@given(st.sampled_from(["max_tokens", "max_completion_tokens"]), st.booleans(), st.booleans(), st.integers(0, 1000))
def test_every_dialect_is_found_whether_its_refusals_are_explained_or_not(
    length_parameter: str, takes_temperature: bool, explains: bool, thinks_for: int
) -> None:
    def respond(style: Style) -> Verdict:
        if style.dialect.length_parameter != length_parameter:
            return style.dialect.length_parameter if explains else None
        if style.dialect.sends_temperature and not takes_temperature:
            return "temperature" if explains else None
        if not style.capability.has_log_probs:
            return "works" if style.max_tokens > thinks_for else "cut off"
        return "logprobs" if explains else None

    tried = climb(Ladder(has_label_tokens=False), respond)
    assert respond(tried[-1]) == "works"
    assert tried[-1].dialect.sends_temperature is takes_temperature
