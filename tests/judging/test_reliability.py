"""What repeated answers say of a judge, with numbers worked out by hand."""

import pytest

from services.judging.answers import Answer, ChoiceAnswer, LabelAnswer
from services.judging.questions import FIRST_SECOND, SECOND_FIRST, Asked, Cost, PairAnswer
from services.judging.reliability import measure
from services.judging.verdicts import join_answers


def label(log_odds: float, mass: float = 0.9) -> LabelAnswer:
    return LabelAnswer(
        log_p_first=log_odds - 1, log_p_second=-1.0, label_mass=mass, prompt_tokens=100, completion_tokens=1
    )


def choice(*, first: bool) -> ChoiceAnswer:
    return ChoiceAnswer(chose_first=first, prompt_tokens=100, completion_tokens=5)


def both_orders(l_xy: Answer, l_yx: Answer, *, seconds: tuple[float | None, float | None] = (0.1, 0.3)) -> PairAnswer:
    asked = tuple(
        Asked(key="", question=question, answer=answer, cached=False, seconds=each)
        for question, answer, each in zip((FIRST_SECOND, SECOND_FIRST), (l_xy, l_yx), seconds, strict=True)
    )
    cost = Cost(judge_calls=2, prompt_tokens=200, completion_tokens=2)
    return PairAnswer(verdict=join_answers(l_xy, l_yx), asked=asked, cost=cost)


def pair(margin: float, *, bias: float = 0.0) -> PairAnswer:
    return both_orders(label(bias + margin), label(bias - margin))


def test_noise_is_what_a_margin_changes_by_between_repeats_and_not_between_pairs() -> None:
    # variances: ((−0.1)² + 0.1²) / 1 = 0.02 and 0; their mean 0.01; its root 0.1
    measured = measure([[pair(1.0), pair(1.2)], [pair(-2.0), pair(-2.0)]])
    assert measured.noise == pytest.approx(0.1)
    assert measured.tie_margin == pytest.approx(0.3)


def test_a_judge_that_always_says_the_same_gets_the_smallest_tie_margin_and_its_bias_for_a_bound() -> None:
    measured = measure([[pair(3.0, bias=0.25)] * 2, [pair(-1.0, bias=-0.75)] * 2])
    assert (measured.noise, measured.tie_margin) == (0.0, 0.02)
    assert measured.mean_position_bias == -0.25
    assert (measured.largest_position_bias, measured.position_bias_bound) == (0.75, 0.75)


def test_a_judge_without_bias_has_a_bound_of_nothing() -> None:
    assert measure([[pair(3.0)] * 2]).position_bias_bound == 0.0


def test_settings_are_rounded_up_to_a_thousandth_of_a_nat() -> None:
    measured = measure([[pair(1.0, bias=0.1234), pair(1.02, bias=0.1234)]])  # 3 · 0.02/√2 = 0.04243
    assert (measured.tie_margin, measured.position_bias_bound) == (0.043, 0.124)


@pytest.mark.parametrize(("num_pairs", "bound"), [(49, 5.0), (50, 0.5)])
def test_of_a_hundred_answers_the_bound_leaves_the_largest_bias_out(num_pairs: int, bound: float) -> None:
    answers = [[pair(1.0, bias=0.5), pair(1.0, bias=0.5)] for _ in range(num_pairs)]
    answers[0][0] = pair(1.0, bias=5.0)
    assert measure(answers).position_bias_bound == bound


def test_consistent_verdicts_and_stable_pairs_are_shares() -> None:
    steady, wavering = [pair(1.0)] * 4, [pair(1.0), pair(1.0), pair(1.0), pair(-1.0, bias=3.0)]
    measured = measure([steady, wavering])
    assert measured.consistent_share == 7 / 8  # l = 2 and 4: whatever is first wins
    assert measured.stable_share == 1 / 2


def test_cost_latency_and_label_mass_are_those_of_single_answers() -> None:
    dull = both_orders(label(1.0, mass=0.5), label(-1.0, mass=0.75), seconds=(0.1, None))
    bright = both_orders(label(1.0, mass=1.0), label(-1.0, mass=1.0), seconds=(0.2, 0.7))
    measured = measure([[dull, bright]])
    assert (measured.num_calls, measured.prompt_tokens, measured.completion_tokens) == (4, 400, 4)
    assert measured.median_call_seconds == 0.2
    assert (measured.mean_label_mass, measured.min_label_mass) == (0.8125, 0.5)


def test_a_judge_that_only_chooses_can_be_steady_and_consistent_and_nothing_else_is_known() -> None:
    agreed = both_orders(choice(first=True), choice(first=False))
    always_first = both_orders(choice(first=True), choice(first=True))
    measured = measure([[agreed, agreed], [agreed, always_first]])
    assert (measured.consistent_share, measured.stable_share) == (3 / 4, 1 / 2)
    unknown = (measured.noise, measured.tie_margin, measured.mean_position_bias, measured.position_bias_bound)
    assert unknown == (None, None, None, None)
    assert (measured.mean_label_mass, measured.min_label_mass) == (None, None)


@pytest.mark.parametrize(
    "answers",
    [[], [[pair(1.0)]], [[pair(1.0), pair(1.0)], [pair(1.0)]]],
    ids=["nothing", "one repeat", "some more often"],
)
def test_fewer_than_two_repeats_of_each_pair_are_refused(answers: list[list[PairAnswer]]) -> None:
    with pytest.raises(ValueError, match="at least twice"):
        measure(answers)


def test_a_single_order_is_refused() -> None:
    one = PairAnswer(verdict=join_answers(label(1.0), None), asked=(), cost=Cost())
    with pytest.raises(ValueError, match="both orders"):
        measure([[one, one]])
