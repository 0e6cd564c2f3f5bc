"""Verdicts and scores of a real vLLM, over the whole judge: both orders, cache, scheduler."""

import math
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from services.judging.answers import LabelAnswer
from services.judging.backend import OpenAIBackend
from services.judging.callers import CallClass, Caller
from services.judging.images import JudgeImage
from services.judging.judge import Judge, JudgeLimits
from services.judging.prompts import pair_prompt
from services.judging.questions import ImageAnswer, ImageQuestion, JudgeFailure, PairAnswer, PairQuestion
from shared_schemas.problems import FailureType
from shared_schemas.rubrics import RubricContent

SOON = timedelta(seconds=60)


@pytest.fixture
def ask_pair(judge: Judge, rubric: RubricContent) -> Callable[..., Awaitable[PairAnswer]]:
    """`await ask_pair(a, b)`: their verdict, without the cache unless `use_cache` says so."""

    async def ask(
        first: JudgeImage,
        second: JudgeImage,
        *,
        source: JudgeImage | None = None,
        rubric: RubricContent = rubric,
        use_cache: bool = False,
    ) -> PairAnswer:
        question = PairQuestion(prompt="a red cube", first=first, second=second, source=source, rubric=rubric)
        [answer] = await judge.compare([question], deadline=SOON, use_cache=use_cache)
        assert isinstance(answer, PairAnswer), answer
        return answer

    return ask


async def test_a_verdict_is_made_of_the_log_odds_of_both_orders(
    ask_pair: Callable[..., Awaitable[PairAnswer]],
    backend: OpenAIBackend,
    picture: Callable[..., JudgeImage],
    rubric: RubricContent,
    nearly: Callable[[Any], Any],
) -> None:
    a, b = picture(1), picture(2)
    answer = await ask_pair(a, b)
    both = [
        await backend.ask(pair_prompt("a red cube", *shown, source=None, rubric=rubric), within=SOON)
        for shown in ((a, b), (b, a))
    ]
    l_ab, l_ba = (order.log_odds for order in both if isinstance(order, LabelAnswer))
    assert answer.verdict.margin == nearly((l_ab - l_ba) / 2)
    assert answer.verdict.position_bias == nearly((l_ab + l_ba) / 2)
    assert answer.verdict.margin != nearly(0.0)
    masses = [order.label_mass for order in both if isinstance(order, LabelAnswer)]
    assert answer.verdict.label_mass == nearly(min(masses))
    assert (answer.cost.judge_calls, answer.cost.completion_tokens) == (2, 2)


async def test_swapping_the_candidates_swaps_the_verdict_though_the_judge_favours_one_place(
    ask_pair: Callable[..., Awaitable[PairAnswer]], picture: Callable[..., JudgeImage], nearly: Callable[[Any], Any]
) -> None:
    there = (await ask_pair(picture(1), picture(2))).verdict
    back = (await ask_pair(picture(2), picture(1))).verdict
    assert there.margin is not None
    assert there.position_bias is not None
    assert back.margin == nearly(-there.margin)
    assert back.position_bias == nearly(there.position_bias)
    assert back.preferred == -there.preferred != 0
    assert abs(there.position_bias) > abs(there.margin), "a random model's fondness for a label outweighs the images"
    assert there.consistent is False


async def test_an_image_against_itself_is_no_preference(
    ask_pair: Callable[..., Awaitable[PairAnswer]], picture: Callable[..., JudgeImage]
) -> None:
    assert (await ask_pair(picture(1), picture(1), use_cache=True)).verdict.margin == 0.0


async def test_the_same_question_gets_the_same_answer(
    ask_pair: Callable[..., Awaitable[PairAnswer]], picture: Callable[..., JudgeImage], nearly: Callable[[Any], Any]
) -> None:
    fresh = [(await ask_pair(picture(3), picture(4))).verdict.margin for _ in range(3)]
    assert fresh == nearly([fresh[0]] * 3)


async def test_a_remembered_verdict_is_the_same_to_the_last_bit_and_costs_nothing(
    ask_pair: Callable[..., Awaitable[PairAnswer]], picture: Callable[..., JudgeImage]
) -> None:
    first = await ask_pair(picture(5), picture(6), use_cache=True)
    swapped = await ask_pair(picture(6), picture(5), use_cache=True)
    assert first.verdict.margin is not None
    assert swapped.verdict.margin == -first.verdict.margin
    assert (swapped.cost.judge_calls, swapped.cost.cached_answers) == (0, 2)


async def test_answers_do_not_depend_on_what_else_is_asked_at_the_same_time(
    ask_pair: Callable[..., Awaitable[PairAnswer]],
    judge: Judge,
    picture: Callable[..., JudgeImage],
    rubric: RubricContent,
    nearly: Callable[[Any], Any],
) -> None:
    images = [picture(number, width=64 if number % 2 else 96) for number in range(8)]
    questions = [
        PairQuestion(prompt="a red cube", first=first, second=second, source=None, rubric=rubric)
        for first, second in pairwise(images)
    ]
    together = await judge.compare(questions, deadline=SOON, use_cache=False)
    alone = [await ask_pair(question.first, question.second) for question in questions]
    margins = [answer.verdict.margin for answer in together if isinstance(answer, PairAnswer)]
    assert margins == nearly([answer.verdict.margin for answer in alone])


async def test_the_class_of_a_caller_changes_no_answer(
    judge: Judge, picture: Callable[..., JudgeImage], rubric: RubricContent, nearly: Callable[[Any], Any]
) -> None:
    question = PairQuestion(prompt="a red cube", first=picture(1), second=picture(2), source=None, rubric=rubric)
    margins = []
    for call_class in CallClass:
        caller = Caller(call_class=call_class)
        [answer] = await judge.compare([question], deadline=SOON, use_cache=False, caller=caller)
        assert isinstance(answer, PairAnswer), "the server takes the priority that it is sent"
        margins.append(answer.verdict.margin)
    assert margins == nearly([margins[0]] * len(CallClass))


async def test_edits_are_judged_with_their_source(
    ask_pair: Callable[..., Awaitable[PairAnswer]],
    picture: Callable[..., JudgeImage],
    edit_rubric: RubricContent,
    nearly: Callable[[Any], Any],
) -> None:
    one = await ask_pair(picture(1), picture(2), source=picture(3), rubric=edit_rubric)
    other = await ask_pair(picture(1), picture(2), source=picture(4), rubric=edit_rubric)
    assert one.verdict.position_bias != nearly(other.verdict.position_bias)
    assert one.cost.prompt_tokens == other.cost.prompt_tokens


async def test_each_criterion_gets_a_yes_or_no_of_its_own(
    judge: Judge, picture: Callable[..., JudgeImage], rubric: RubricContent, nearly: Callable[[Any], Any]
) -> None:
    question = ImageQuestion(prompt="a red cube", image=picture(1), source=None, rubric=rubric)
    [answer] = await judge.rate([question], deadline=SOON)
    assert isinstance(answer, ImageAnswer), answer
    assert list(answer.scores) == ["colour", "shape"]
    for asked in answer.asked:
        assert isinstance(asked.answer, LabelAnswer)
        p_yes, p_no = math.exp(asked.answer.log_p_first), math.exp(asked.answer.log_p_second)
        assert answer.scores[asked.question] == pytest.approx(p_yes / (p_yes + p_no), rel=1e-9)
    assert answer.scores["colour"] != nearly(answer.scores["shape"])
    assert 0 < answer.label_mass < 0.5


async def test_a_model_that_would_rather_say_something_else_is_off_topic(
    start_judge: Callable[..., Awaitable[Judge]],
    vllm_url: str,
    picture: Callable[..., JudgeImage],
    rubric: RubricContent,
) -> None:
    judge = await start_judge(vllm_url, limits=JudgeLimits())
    question = PairQuestion(prompt="a red cube", first=picture(1), second=picture(2), source=None, rubric=rubric)
    [failure] = await judge.compare([question], deadline=SOON)
    assert isinstance(failure, JudgeFailure)
    assert failure.type is FailureType.JUDGE_OFF_TOPIC
