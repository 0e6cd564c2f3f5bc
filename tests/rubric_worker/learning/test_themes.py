"""Grouping criteria into themes: what loses something on the way is found out, and the criteria stay as they were."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from services.judging.pixel_judge import PixelJudgeSettings, create_pixel_judge_app
from shared_schemas.learning import LearnResult
from shared_schemas.rubrics import Criterion
from tests.rubric_worker.learning.workshop import NAME, Answer, Recorder, Workshop, answer_properties, rows_of_mistakes

COLOUR, FORM = "The object has the colour that was asked for.", "The silhouette fits the requested form."


def criteria(*statements: str) -> dict[str, Any]:
    return {"criteria": [{"theme": f"Theme {n}", "statement": text} for n, text in enumerate(statements, 1)]}


def theme(name: str, *tips: str, covers: Sequence[int]) -> dict[str, Any]:
    return {"theme": name, "tips": list(tips), "covers": list(covers)}


def coverage(*themes: int) -> dict[str, Any]:
    """Where a second look finds the criteria 1, 2 …; 0 = nowhere."""
    return {"entries": [{"criterion": number, "theme": place} for number, place in enumerate(themes, 1)]}


def writing(themes: Sequence[dict[str, Any]], entries: dict[str, Any]) -> Answer:
    """Two criteria for every row, grouped like this, and found again like that."""
    answers = {"criteria": criteria(COLOUR, FORM), "themes": {"themes": list(themes)}, "entries": entries}

    def answer(body: dict[str, Any]) -> str | None:
        wanted = answer_properties(body)
        return next((json.dumps(answer) for name, answer in answers.items() if name in wanted), None)

    return answer


Learned = Callable[..., Any]


@pytest.fixture
def learned(workshop: Workshop) -> Learned:
    """`await learned(answer)`: the result of learning with a model that writes this, and the published criteria."""

    async def learn(answer: Answer, **options: Any) -> tuple[LearnResult, tuple[Criterion, ...]]:
        app = Recorder(create_pixel_judge_app(PixelJudgeSettings()), answer=answer)
        dataset = await workshop.store(rows_of_mistakes())
        result = await workshop.learn(await workshop.judge(app), dataset, **options)
        return result, (await workshop.rubrics.get(NAME)).content.criteria

    return learn


async def test_themes_that_say_everything_are_published(learned: Learned) -> None:
    themes = [theme("As asked for", COLOUR, FORM, covers=[1, 2])]
    result, published = await learned(writing(themes, coverage(1, 1)))
    assert (result.structured, result.structure_problem) == (True, None)
    assert published == (Criterion(id="as-asked-for", theme="As asked for", tips=(COLOUR, FORM)),)


@pytest.mark.parametrize(
    ("themes", "entries", "problem"),
    [
        ([theme("One", COLOUR, covers=[1])], coverage(1, 1), "no theme covers “"),
        ([theme("One", COLOUR, covers=[1, 2])], coverage(1, 0), "the themes do not say “"),
        ([theme("One", COLOUR, covers=[1, 2])], coverage(1), "the themes do not say “"),
        ([theme("One", COLOUR, covers=[1, 2])], coverage(1, 2), "the themes do not say “"),
        ([theme("One", covers=[1, 2])], coverage(1, 1), "a theme was written that is empty or too long"),
        (
            [theme("One", COLOUR, "Image 1 has the requested form.", covers=[1, 2])],
            coverage(1, 1),
            "a theme says “Image 1 has the requested form.”: it names an image by its place",
        ),
        ([theme(" ", COLOUR, FORM, covers=[1, 2])], coverage(1, 1), "a theme was written that is empty or too long"),
        (
            [theme("One", COLOUR, covers=[1]), theme("Two", FORM, covers=[2])],
            coverage(1, 2),
            "2 themes were written where at most 1 were asked for",
        ),
    ],
)
async def test_themes_that_lose_something_are_given_up(
    learned: Learned, themes: Sequence[dict[str, Any]], entries: dict[str, Any], problem: str
) -> None:
    result, published = await learned(writing(themes, entries), max_themes=1)
    assert not result.structured
    assert result.structure_problem is not None
    assert result.structure_problem.startswith(problem)
    assert not (COLOUR in result.structure_problem and FORM in result.structure_problem)
    assert {criterion.tips for criterion in published} == {(COLOUR,), (FORM,)}


async def test_themes_that_judge_worse_are_given_up(learned: Learned) -> None:
    themes = [theme("Light", "The image is bright.", covers=[1, 2])]
    result, published = await learned(writing(themes, coverage(1, 1)))
    assert not result.structured
    assert result.structure_problem is not None
    assert result.structure_problem.startswith("grouped, the criteria are right on 0 of 7 pairs")
    assert {criterion.tips for criterion in published} == {(COLOUR,), (FORM,)}


async def test_a_model_that_cannot_group_loses_nothing(learned: Learned) -> None:
    result, published = await learned(writing([], coverage(1, 1)))
    assert not result.structured
    assert result.structure_problem is not None
    assert len(published) == 2


async def test_a_criterion_that_a_model_claims_to_have_kept_is_missed(workshop: Workshop) -> None:
    """The pixel judge, asked to group, loses a criterion and claims to cover it."""
    judge = await workshop.judge(drops_a_criterion=1.0)
    result = await workshop.learn(judge, await workshop.store(rows_of_mistakes()))
    assert not result.structured
    assert result.structure_problem is not None
    assert result.structure_problem.startswith("the themes do not say “")
    assert len((await workshop.rubrics.get(NAME)).content.criteria) == result.num_selected
