"""Exemplars and Chinese prompts before a real vLLM, which was started with room for six images in a question."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from services.judging.images import JudgeImage
from services.judging.judge import Judge
from services.judging.questions import ImageAnswer, ImageQuestion, JudgeFailure, PairAnswer, PairQuestion, ShownExample
from shared_schemas.problems import FailureType
from shared_schemas.rubrics import Criterion, Exemplar, Language, RubricContent, Task

SOON = timedelta(seconds=60)


def question(
    task: Task, language: Language, picture: Callable[[int], JudgeImage], *, rationales: Sequence[str]
) -> PairQuestion:
    """Pictures 1 and 2 of picture 3, with an exemplar for each rationale."""
    source = picture(3) if task is Task.EDIT else None
    guide = tuple(
        ShownExample(
            prompt=f"a cube, number {number}",
            source=source and picture(10 + number),
            preferred=picture(20 + number),
            dispreferred=picture(30 + number),
            rationale=rationale,
        )
        for number, rationale in enumerate(rationales)
    )
    exemplars = tuple(
        Exemplar(
            prompt=shown.prompt,
            preferred=shown.preferred.digest,
            dispreferred=shown.dispreferred.digest,
            source=shown.source and shown.source.digest,
            rationale=shown.rationale,
        )
        for shown in guide
    )
    criteria = (Criterion(id="colour", theme="颜色", tips=("颜色与提示词一致",)),)
    rubric = RubricContent(task=task, language=language, criteria=criteria, guide=exemplars)
    return PairQuestion(
        prompt="一个红色的立方体", first=picture(1), second=picture(2), source=source, rubric=rubric, guide=guide
    )


@pytest.mark.parametrize(("task", "num_exemplars"), [(Task.T2I, 0), (Task.T2I, 2), (Task.EDIT, 0), (Task.EDIT, 1)])
@pytest.mark.parametrize("language", list(Language))
async def test_every_language_and_guide_gets_a_verdict_in_both_orders(
    task: Task,
    num_exemplars: int,
    language: Language,
    judge: Judge,
    picture: Callable[[int], JudgeImage],
    nearly: Callable[[Any], Any],
) -> None:
    there = question(task, language, picture, rationales=["它更红"] * num_exemplars)
    back = PairQuestion(
        prompt=there.prompt,
        first=there.second,
        second=there.first,
        source=there.source,
        rubric=there.rubric,
        guide=there.guide,
    )
    answers = await judge.compare([there, back], deadline=SOON, use_cache=False)
    margins = [answer.verdict.margin for answer in answers if isinstance(answer, PairAnswer)]
    assert len(margins) == 2, answers
    assert margins[0] is not None
    assert margins[1] == nearly(-margins[0])


async def test_a_criterion_in_chinese_gets_a_yes_or_no(judge: Judge, picture: Callable[[int], JudgeImage]) -> None:
    asked = question(Task.T2I, Language.ZH, picture, rationales=[])
    [answer] = await judge.rate(
        [ImageQuestion(prompt=asked.prompt, image=asked.first, source=None, rubric=asked.rubric)], deadline=SOON
    )
    assert isinstance(answer, ImageAnswer), answer
    assert 0 < answer.scores["colour"] < 1


async def test_what_an_exemplar_says_has_a_say(
    judge: Judge, picture: Callable[[int], JudgeImage], nearly: Callable[[Any], Any]
) -> None:
    asked = [question(Task.T2I, Language.EN, picture, rationales=[text]) for text in ("it is red", "it is blue")]
    red, blue = await judge.compare(asked, deadline=SOON, use_cache=False)
    assert isinstance(red, PairAnswer)
    assert isinstance(blue, PairAnswer)
    assert red.verdict.position_bias is not None
    assert red.verdict.position_bias != nearly(blue.verdict.position_bias)


async def test_more_images_than_the_server_takes_are_refused_with_its_limit(
    judge: Judge, picture: Callable[[int], JudgeImage]
) -> None:
    [failure] = await judge.compare(
        [question(Task.T2I, Language.EN, picture, rationales=["it is red"] * 3)], deadline=SOON
    )
    assert isinstance(failure, JudgeFailure)
    assert failure.type is FailureType.JUDGE_REFUSED
    assert (
        failure.detail
        == "the judge refused the request (HTTP 400: too many images in one question; it takes 6 at most)"
    )
