"""Only what the rubric names weighs, so better rubrics judge better."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import permutations, product

import pytest
from PIL import Image

from services.judging.images import JudgeImage
from services.judging.judge import Judge
from services.judging.pixel_judge import PixelJudgeSettings, create_pixel_judge_app
from services.judging.pixel_judge.opinion import property_weights
from services.judging.pixel_judge.parsing import WrittenCriterion
from services.judging.pixel_judge.properties import Property
from services.judging.pixel_judge.vocabulary import named_properties
from services.judging.questions import ImageAnswer, ImageQuestion, PairAnswer, PairQuestion
from shared_schemas.rubrics import Criterion, RubricContent, Task

COLOURS = {"red": (220, 40, 40), "green": (40, 160, 60), "blue": (40, 90, 220)}
SHAPES = ("circle", "square", "triangle")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the object has the colour named in the prompt", {Property.COLOUR}),
        ("the outline is the named shape", {Property.SHAPE}),
        ("the fill is even, without spots, gradients or a second colour", {Property.UNIFORM}),
        ("the background is plain", {Property.BACKGROUND}),
        ("colorful and vivid", {Property.COLOURFULNESS}),
        ("sharp edges, no grain, bright", {Property.SHARPNESS, Property.NOISE, Property.BRIGHTNESS}),
        ("the number of objects is right", {Property.COUNT}),
        ("the rest of the source is preserved", {Property.PRESERVATION}),
        ("the composition is pleasing", set()),
    ],
)
def test_words_of_the_rubric_name_properties(text: str, expected: set[Property]) -> None:
    assert named_properties(text) == expected


def test_a_criterion_spreads_its_weight_over_what_it_names() -> None:
    criteria = (
        WrittenCriterion(theme="Colour", tips=(), weight=3.0),
        WrittenCriterion(theme="Clean drawing", tips=("the background is plain",), weight=1.0),
        WrittenCriterion(theme="Charm", tips=(), weight=5.0),
    )
    assert property_weights(criteria) == {Property.COLOUR: 3.0, Property.UNIFORM: 0.5, Property.BACKGROUND: 0.5}


def test_without_criteria_brightness_and_contrast_decide() -> None:
    assert property_weights(()) == {Property.BRIGHTNESS: 0.5, Property.CONTRAST: 0.5}


def margin_of(answer: object) -> float:
    assert isinstance(answer, PairAnswer)
    assert answer.verdict.margin is not None
    return answer.verdict.margin


def rubric_of(*themes: str) -> RubricContent:
    criteria = tuple(Criterion(id=f"c{number}", theme=theme) for number, theme in enumerate(themes))
    return RubricContent(task=Task.T2I, criteria=criteria)


async def test_a_better_rubric_gives_better_accuracy(
    start_judge: Callable[..., Awaitable[Judge]],
    draw: Callable[..., Image.Image],
    judge_image: Callable[[Image.Image], JudgeImage],
) -> None:
    drawn = {key: judge_image(draw(key[1], COLOURS[key[0]])) for key in product(COLOURS, SHAPES)}
    pairs = [(right, wrong) for right, wrong in permutations(drawn, 2)]
    judge = await start_judge(create_pixel_judge_app(PixelJudgeSettings()))

    async def accuracy(rubric: RubricContent) -> float:
        questions = [
            PairQuestion(prompt=f"a {right[0]} {right[1]}", first=drawn[right], second=drawn[wrong], source=None,
                         rubric=rubric)
            for right, wrong in pairs
        ]  # fmt: skip
        answers = await judge.compare(questions, deadline=timedelta(seconds=60))
        # A difference below 0.02 of a score is no preference.
        return sum(margin_of(answer) > 8 * 0.02 for answer in answers) / len(answers)

    none, colour, both = [await accuracy(rubric_of(*themes)) for themes in ((), ("Colour",), ("Colour", "Shape"))]
    assert none < 0.6
    # Of 8 wrong drawings per prompt, 6 have the wrong colour and 2 only the wrong shape.
    assert colour == pytest.approx(6 / 8)
    assert both == 1.0


async def test_weights_of_the_rubric_decide_between_a_right_colour_and_a_right_shape(
    start_judge: Callable[..., Awaitable[Judge]],
    draw: Callable[..., Image.Image],
    judge_image: Callable[[Image.Image], JudgeImage],
) -> None:
    judge = await start_judge(create_pixel_judge_app(PixelJudgeSettings()))
    red_square, blue_circle = judge_image(draw("square", COLOURS["red"])), judge_image(draw("circle", COLOURS["blue"]))

    async def margin(colour_weight: float, shape_weight: float) -> float:
        criteria = (
            Criterion(id="c", theme="Colour", weight=colour_weight),
            Criterion(id="s", theme="Shape", weight=shape_weight),
        )
        rubric = RubricContent(task=Task.T2I, criteria=criteria)
        question = PairQuestion(prompt="a red circle", first=red_square, second=blue_circle, source=None, rubric=rubric)
        [answer] = await judge.compare([question], deadline=timedelta(seconds=20))
        return margin_of(answer)

    assert await margin(3, 1) > 1
    assert await margin(1, 3) < -1


async def test_a_rubric_that_names_nothing_measurable_prefers_nobody(
    start_judge: Callable[..., Awaitable[Judge]], red_circle: JudgeImage, blue_square: JudgeImage
) -> None:
    judge = await start_judge(create_pixel_judge_app(PixelJudgeSettings()))
    question = PairQuestion(
        prompt="a red circle", first=red_circle, second=blue_square, source=None, rubric=rubric_of("Charm")
    )
    [answer] = await judge.compare([question], deadline=timedelta(seconds=20))
    assert margin_of(answer) == pytest.approx(0, abs=1e-12)


async def test_a_better_image_meets_more_criteria(
    start_judge: Callable[..., Awaitable[Judge]],
    draw: Callable[..., Image.Image],
    judge_image: Callable[[Image.Image], JudgeImage],
) -> None:
    judge = await start_judge(create_pixel_judge_app(PixelJudgeSettings(position_bias=3.0)))
    drawn = [draw("circle", COLOURS["red"]), draw("square", COLOURS["red"]), draw("square", COLOURS["blue"])]
    rubric = rubric_of("Colour", "Shape", "Charm")
    questions = [
        ImageQuestion(prompt="a red circle", image=judge_image(image), source=None, rubric=rubric) for image in drawn
    ]
    answers = await judge.rate(questions, deadline=timedelta(seconds=20))
    met = []
    for answer in answers:
        assert isinstance(answer, ImageAnswer)
        assert answer.scores["c2"] == pytest.approx(0.5)
        met.append((answer.scores["c0"] > 0.9, answer.scores["c1"] > 0.9))
    assert met == [(True, True), (True, False), (False, False)]
