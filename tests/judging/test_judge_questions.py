"""One order or two, criteria one by one, judges without log-probabilities, tenants."""

import asyncio
from dataclasses import replace

import pytest

from services.judging.callers import Caller
from services.judging.images import JudgeImage
from services.judging.pixel_judge import PixelJudgeSettings, create_pixel_judge_app
from services.judging.questions import (
    FIRST_SECOND,
    SECOND_FIRST,
    ImageAnswer,
    ImageQuestion,
    JudgeFailure,
    PairAnswer,
    PairQuestion,
    ShownExample,
)
from shared_schemas.problems import FailureType
from shared_schemas.reward import Orders
from shared_schemas.rubrics import Exemplar, RubricContent, Task
from tests.judging.gated_judge import SOON, Gate, StartJudge, answered, limits, margin_of


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def question(red_circle: JudgeImage, blue_square: JudgeImage, rubric: RubricContent) -> PairQuestion:
    return PairQuestion(prompt="a red circle", first=red_circle, second=blue_square, source=None, rubric=rubric)


@pytest.fixture
def guided(question: PairQuestion) -> PairQuestion:
    """The same question by a rubric set with an exemplar."""
    example = ShownExample(
        prompt="a blue square",
        source=None,
        preferred=question.second,
        dispreferred=question.first,
        rationale="the colour is right",
    )
    exemplar = Exemplar(
        prompt=example.prompt,
        preferred=example.preferred.digest,
        dispreferred=example.dispreferred.digest,
        rationale=example.rationale,
    )
    rubric = question.rubric.model_copy(update={"guide": (exemplar,)})
    return replace(question, rubric=rubric, guide=(example,))


def orders_asked(answer: PairAnswer) -> list[str]:
    return [asked.question for asked in answer.asked]


async def test_a_single_order_is_asked_once_and_swapping_still_swaps_the_margin(
    gate: Gate, start_judge: StartJudge, question: PairQuestion
) -> None:
    judge = await start_judge(gate.app)
    swapped = replace(question, first=question.second, second=question.first)
    gate.calls.clear()
    [forward] = answered(await judge.compare([question], deadline=SOON, orders=Orders.SINGLE))
    [backward] = answered(await judge.compare([swapped], deadline=SOON, orders=Orders.SINGLE))
    assert gate.num_calls == 1  # whichever way round the pair comes, it is shown in the same order
    assert margin_of(forward) == -margin_of(backward)
    assert forward.verdict.position_bias is None
    assert {*orders_asked(forward), *orders_asked(backward)} == {FIRST_SECOND, SECOND_FIRST}


async def test_two_equal_images_are_asked_in_both_orders_whatever_was_wished(
    start_judge: StartJudge, question: PairQuestion
) -> None:
    judge = await start_judge(create_pixel_judge_app(PixelJudgeSettings(position_bias=2.0)))
    equal = replace(question, second=question.first)
    [answer] = answered(await judge.compare([equal], deadline=SOON, orders=Orders.SINGLE))
    assert (margin_of(answer), answer.verdict.preferred) == (0.0, 0)
    assert answer.verdict.position_bias == pytest.approx(2.0)


@pytest.mark.parametrize(("bound", "num_orders"), [(1.0, 1), (100.0, 2), (None, 2)])
async def test_adaptive_orders_ask_the_second_when_the_first_could_be_the_bias(
    bound: float | None, num_orders: int, start_judge: StartJudge, question: PairQuestion
) -> None:
    judge = await start_judge(
        create_pixel_judge_app(PixelJudgeSettings()), limits=replace(limits(), position_bias_bound=bound)
    )
    [answer] = answered(await judge.compare([question], deadline=SOON, orders=Orders.ADAPTIVE))
    assert len(answer.asked) == answer.cost.judge_calls == num_orders


async def test_an_adaptive_answer_just_inside_the_tie_band_is_asked_again(
    start_judge: StartJudge, question: PairQuestion
) -> None:
    judge = await start_judge(
        create_pixel_judge_app(PixelJudgeSettings()), limits=replace(limits(), position_bias_bound=0.0)
    )
    [clear] = answered(await judge.compare([question], deadline=SOON, orders=Orders.ADAPTIVE, tie_margin=1.0))
    assert len(clear.asked) == 1
    margin = abs(margin_of(clear))
    [unclear] = answered(
        await judge.compare([question], deadline=SOON, orders=Orders.ADAPTIVE, tie_margin=margin + 0.1)
    )
    assert len(unclear.asked) == 2
    assert unclear.cost.cached_answers == 1


async def test_every_criterion_is_asked_alone_and_remembered_for_any_set_it_stands_in(
    gate: Gate, start_judge: StartJudge, red_circle: JudgeImage, rubric: RubricContent
) -> None:
    judge = await start_judge(gate.app)
    gate.calls.clear()
    whole = ImageQuestion(prompt="a red circle", image=red_circle, source=None, rubric=rubric)
    [first] = await judge.rate([whole], deadline=SOON)
    assert isinstance(first, ImageAnswer)
    assert list(first.scores) == ["colour", "shape", "clean"]
    assert all(0.5 < score <= 1 for score in first.scores.values())
    assert gate.num_calls == first.cost.judge_calls == 3
    part = replace(whole, rubric=rubric.model_copy(update={"criteria": rubric.criteria[1:2]}))
    [second] = await judge.rate([part], deadline=SOON)
    assert isinstance(second, ImageAnswer)
    assert second.cached
    assert second.scores == {"shape": first.scores["shape"]}


async def test_an_image_of_another_colour_meets_the_criterion_of_colour_less(
    gate: Gate, start_judge: StartJudge, red_circle: JudgeImage, blue_square: JudgeImage, rubric: RubricContent
) -> None:
    judge = await start_judge(gate.app)
    questions = [
        ImageQuestion(prompt="a red circle", image=image, source=None, rubric=rubric)
        for image in (red_circle, blue_square)
    ]
    right, wrong = await judge.rate(questions, deadline=SOON)
    assert isinstance(right, ImageAnswer)
    assert isinstance(wrong, ImageAnswer)
    assert right.scores["colour"] > wrong.scores["colour"]


async def test_a_rubric_without_criteria_cannot_rate(
    gate: Gate, start_judge: StartJudge, red_circle: JudgeImage
) -> None:
    judge = await start_judge(gate.app)
    empty = ImageQuestion(prompt="x", image=red_circle, source=None, rubric=RubricContent(task=Task.T2I))
    with pytest.raises(ValueError, match="without criteria"):
        await judge.rate([empty], deadline=SOON)


async def test_a_judge_without_log_probs_names_winners_and_gives_no_numbers(
    start_judge: StartJudge, question: PairQuestion, rubric: RubricContent
) -> None:
    judge = await start_judge(create_pixel_judge_app(PixelJudgeSettings(log_probs=False)))
    swapped = replace(question, first=question.second, second=question.first)
    forward, backward = answered(await judge.compare([question, swapped], deadline=SOON))
    assert (forward.verdict.preferred, backward.verdict.preferred) == (1, -1)
    assert forward.verdict.margin is forward.verdict.position_bias is forward.verdict.label_mass is None
    [rated] = await judge.rate(
        [ImageQuestion(prompt="a red circle", image=question.first, source=None, rubric=rubric)], deadline=SOON
    )
    assert isinstance(rated, JudgeFailure)
    assert rated.type is FailureType.JUDGE_LACKS_LOG_PROBS


async def test_a_biased_judge_without_log_probs_contradicts_itself_and_prefers_nobody(
    start_judge: StartJudge, question: PairQuestion
) -> None:
    judge = await start_judge(create_pixel_judge_app(PixelJudgeSettings(log_probs=False, position_bias=50.0)))
    [answer] = answered(await judge.compare([question], deadline=SOON))
    assert (answer.verdict.preferred, answer.verdict.consistent) == (0, False)


async def test_tenants_share_no_answers(gate: Gate, start_judge: StartJudge, question: PairQuestion) -> None:
    judge = await start_judge(gate.app)
    mine, yours = (Caller(tenant=name, cache_scope=name) for name in ("mine", "yours"))
    await judge.compare([question], deadline=SOON, caller=mine)
    [again] = answered(await judge.compare([question], deadline=SOON, caller=mine))
    [foreign] = answered(await judge.compare([question], deadline=SOON, caller=yours))
    assert again.cached
    assert not foreign.cached
    assert foreign.cost.judge_calls == 2


async def test_exemplars_are_shown_to_the_judge_and_swapping_still_swaps_the_margin(
    gate: Gate, start_judge: StartJudge, question: PairQuestion, guided: PairQuestion
) -> None:
    judge = await start_judge(gate.app)
    gate.calls.clear()
    swapped = replace(guided, first=guided.second, second=guided.first)
    forward, backward = answered(await judge.compare([guided, swapped], deadline=SOON))
    assert margin_of(forward) == -margin_of(backward)
    assert [body.count(b'"type":"image_url"') for body in gate.calls] == [4, 4]
    [plain] = answered(await judge.compare([question], deadline=SOON))
    assert {asked.key for asked in plain.asked}.isdisjoint(asked.key for asked in forward.asked)
    assert margin_of(plain) == margin_of(forward)  # the pixel judge learns nothing from examples


async def test_a_question_without_the_exemplars_of_its_rubric_is_a_mistake(
    gate: Gate, start_judge: StartJudge, guided: PairQuestion
) -> None:
    judge = await start_judge(gate.app)
    with pytest.raises(ValueError, match="1 exemplars, and 0 are shown"):
        await judge.compare([replace(guided, guide=())], deadline=SOON)


async def test_one_pair_reads_the_exemplars_for_all_that_wait_with_it(
    gate: Gate, start_judge: StartJudge, guided: PairQuestion
) -> None:
    judge = await start_judge(gate.app)
    gate.close()
    questions = [replace(guided, prompt=f"a red circle, number {number}") for number in range(6)]
    asking = asyncio.create_task(judge.compare(questions, deadline=SOON))
    await gate.somebody_waits.wait()
    await asyncio.sleep(0)
    assert gate.num_calls <= 2
    gate.is_open.set()
    assert len(answered(await asking)) == 6
    assert gate.num_calls == 12
