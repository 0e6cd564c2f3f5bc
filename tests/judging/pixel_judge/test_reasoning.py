"""The pixel judge as a model that reasons: it looks, compares, writes criteria, and says what criteria miss."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeAlias

import pytest
from PIL import Image

from services.judging.backend import OpenAIBackend
from services.judging.images import JudgeImage
from services.judging.pixel_judge import PixelJudgeSettings, create_pixel_judge_app
from services.judging.pixel_judge.properties import Property
from services.judging.pixel_judge.vocabulary import named_properties
from services.judging.writing import (
    Assignment,
    Diagnosis,
    LabelledImages,
    Proposal,
    Reasoned,
    diagnose,
    extract,
    reason,
)
from shared_schemas.rubrics import Criterion, Language, Mode, Task

SOON = timedelta(seconds=20)
RED, BLUE = (220, 40, 40), (40, 90, 220)
IN_USE = {
    Language.EN: (Criterion(id="c1", theme="Shape", tips=("The object has the shape that was asked for.",)),),
    Language.ZH: (Criterion(id="c1", theme="物体形状", tips=("物体的形状与要求一致。",)),),
}

Write: TypeAlias = Callable[..., Awaitable[Any]]


@pytest.fixture
async def write() -> AsyncIterator[Write]:
    backend = OpenAIBackend.in_process(create_pixel_judge_app(PixelJudgeSettings()))
    await backend.probe(within=SOON)

    async def ask(messages: Any, schema: Any, *, seed: int = 0) -> Any:
        said = await backend.complete_json(messages, schema=schema, within=SOON, max_tokens=2048, seed=seed)
        return said.value

    yield ask
    await backend.aclose()


@pytest.fixture
def by_colour(draw: Callable[..., Image.Image], judge_image: Callable[[Image.Image], JudgeImage]) -> LabelledImages:
    """A blue circle and, preferred, a red one."""
    images = (judge_image(draw("circle", BLUE)), judge_image(draw("circle", RED)))
    return LabelledImages(prompt="a red circle", images=images, source=None, places=(2, 1), scores=None)


def about(language: Language) -> Assignment:
    return Assignment(
        task=Task.T2I,
        mode=Mode.POINTWISE,
        language=language,
        task_description="",
        min_score=None,
        max_score=None,
    )


@pytest.mark.parametrize("language", Language)
async def test_what_sets_the_images_apart_is_seen_said_and_written_first(
    language: Language, write: Write, by_colour: LabelledImages
) -> None:
    found: Reasoned = await write(reason(by_colour, about=about(language), num_criteria=4), Reasoned)
    assert len(found.observations) == 2
    assert found.observations[0] != found.observations[1]
    assert named_properties(found.differences[0]) == {Property.COLOUR}
    assert len({criterion.statement for criterion in found.criteria}) == 4
    assert named_properties(f"{found.criteria[0].theme} {found.criteria[0].statement}") == {Property.COLOUR}


@pytest.mark.parametrize("language", Language)
async def test_a_diagnosis_names_what_the_criteria_in_use_do_not_ask_for(
    language: Language, write: Write, by_colour: LabelledImages
) -> None:
    messages = diagnose(by_colour, about=about(language), criteria=IN_USE[language])
    found: Diagnosis = await write(messages, Diagnosis)
    assert named_properties(found.dimension) == named_properties(found.evidence) == {Property.COLOUR}


@pytest.mark.parametrize("language", Language)
async def test_criteria_are_extracted_from_the_diagnosis_whatever_it_says(
    language: Language, write: Write, by_colour: LabelledImages
) -> None:
    """It believes what it is told: a wrong diagnosis makes criteria that explain nothing."""
    dimension = {Language.EN: "Sharpness", Language.ZH: "清晰度"}[language]
    messages = extract(
        by_colour,
        about=about(language),
        criteria=IN_USE[language],
        diagnosis=Diagnosis(dimension=dimension, evidence="-"),
        num_criteria=2,
    )
    found: Proposal = await write(messages, Proposal)
    assert [named_properties(f"{one.theme} {one.statement}") for one in found.criteria] == [{Property.SHARPNESS}] * 2


async def test_what_is_in_use_is_not_written_again(write: Write, by_colour: LabelledImages) -> None:
    messages = extract(
        by_colour,
        about=about(Language.EN),
        criteria=IN_USE[Language.EN],
        diagnosis=Diagnosis(dimension="Shape", evidence="-"),
        num_criteria=20,
    )
    found: Proposal = await write(messages, Proposal)
    assert len(found.criteria) == 20
    assert IN_USE[Language.EN][0].tips[0] not in {one.statement for one in found.criteria}


async def test_equal_images_are_diagnosed_with_what_might_be(write: Write, by_colour: LabelledImages) -> None:
    """Nothing explains the label, so it guesses, as models do; another seed guesses something else."""
    same = LabelledImages(
        prompt="a red circle", images=by_colour.images[:1] * 2, source=None, places=(2, 1), scores=None
    )
    messages = diagnose(same, about=about(Language.EN), criteria=())
    guesses = {(await write(messages, Diagnosis, seed=seed)).dimension for seed in range(8)}
    assert len(guesses) > 1
