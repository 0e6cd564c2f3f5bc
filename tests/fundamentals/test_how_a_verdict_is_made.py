"""How a verdict is made, step by step. Read from top to bottom; docs/judging.md has the prose.

The judge here is the built-in pixel judge, which measures colours and shapes. A vision-language model behind an
OpenAI-compatible server is asked in exactly the same way.
"""

import io
import math
from datetime import timedelta

import pytest
from PIL import Image, ImageDraw

from services.judging.backend import OpenAIBackend
from services.judging.cache import MemoryVerdictCache
from services.judging.groups import Comparison, comparative_rewards, standing_of_pairs
from services.judging.images import JudgeImage, read_png
from services.judging.judge import Judge
from services.judging.pixel_judge import PixelJudgeSettings, create_pixel_judge_app
from services.judging.prompts import pair_prompt
from services.judging.questions import PairAnswer, PairQuestion
from services.judging.verdicts import combine_orders
from shared_schemas.reward import RewardScheme
from shared_schemas.rubrics import Criterion, RubricContent, Task

RUBRIC = RubricContent(
    task=Task.T2I,
    criteria=(Criterion(id="colour", theme="Colour", tips=("the object has the colour named in the prompt",)),),
)


def circle(colour: str) -> JudgeImage:
    picture = Image.new("RGB", (64, 64), (240, 240, 240))
    ImageDraw.Draw(picture).ellipse((14, 14, 50, 50), fill=colour)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return read_png(buffer.getvalue())


def test_1_the_judge_sees_rubric_prompt_two_images_and_a_question() -> None:
    shown = pair_prompt("a red circle", circle("red"), circle("blue"), source=None, rubric=RUBRIC)
    assert "the object has the colour named in the prompt" in shown.system
    assert [type(part).__name__ for part in shown.parts] == ["str", "str", "JudgeImage", "str", "JudgeImage", "str"]
    assert str(shown.parts[-1]).endswith("1 if Image 1 is better, 2 if Image 2 is better.")


def test_2_it_answers_with_one_token_and_we_read_how_sure_it_is() -> None:
    # p("1") = 0.8 and p("2") = 0.2: log-odds of log 4 nats for the image shown first.
    log_odds = math.log(0.8) - math.log(0.2)
    assert math.isclose(log_odds, math.log(4))


def test_3_asking_in_both_orders_separates_preference_from_habit() -> None:
    # x first: 3 nats for x. y first: 1 nat for y. A judge without habits would have said +3 and −3.
    verdict = combine_orders(3.0, 1.0, label_mass=0.99)
    assert verdict.margin == 1.0  # what is left for x: (3 − 1) / 2
    assert verdict.position_bias == 2.0  # what the first place is worth: (3 + 1) / 2
    assert not verdict.consistent  # each order named another winner; the margin still says x
    assert verdict.p_first() == pytest.approx(1 / (1 + math.exp(-1)))


def test_4_a_clear_margin_becomes_rewards_and_an_unclear_one_becomes_none() -> None:
    def rewards(margin: float) -> tuple[float, ...] | None:
        pair = Comparison(first=0, second=1, verdict=combine_orders(margin, -margin, label_mass=1.0))
        standing = standing_of_pairs(2, [pair], tie_margin=0.1)
        assert standing is not None
        return None if standing.is_tied else comparative_rewards(standing, RewardScheme())

    assert rewards(1.0) == (1.0, -0.1)
    assert rewards(-1.0) == (-0.1, 1.0)
    assert rewards(0.05) is None


async def test_5_even_a_strong_habit_does_not_change_the_verdict() -> None:
    question = PairQuestion(
        prompt="a red circle", first=circle("red"), second=circle("blue"), source=None, rubric=RUBRIC
    )
    margins = []
    for position_bias in (0.0, 5.0):
        app = create_pixel_judge_app(PixelJudgeSettings(position_bias=position_bias))
        judge = Judge([OpenAIBackend.in_process(app)], cache=MemoryVerdictCache())
        await judge.start()
        [answer] = await judge.compare([question], deadline=timedelta(seconds=20))
        await judge.aclose()
        assert isinstance(answer, PairAnswer)
        assert answer.verdict.position_bias is not None
        assert answer.verdict.margin is not None
        assert math.isclose(answer.verdict.position_bias, position_bias, abs_tol=1e-9)
        margins.append(answer.verdict.margin)
    assert margins[0] > 1
    assert math.isclose(margins[0], margins[1], abs_tol=1e-9)
