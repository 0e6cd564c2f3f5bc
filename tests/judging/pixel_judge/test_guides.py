"""What the pixel judge makes of exemplars, which it does not learn from, and of Chinese prompts."""

from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image
from pydantic_core import from_json

from services.judging.chat_messages import encode_request, messages_of
from services.judging.images import JudgeImage
from services.judging.pixel_judge.parsing import ChatRequest, Check, Comparison, read_question
from services.judging.prompts import JudgePrompt, criterion_prompt, pair_prompt
from services.judging.questions import ShownExample
from shared_schemas.rubrics import Criterion, Exemplar, Language, RubricContent, Task

CRITERIA = (
    Criterion(id="a", theme="颜色 (weight 9)", tips=("颜色正确",), weight=2.5),
    Criterion(id="b", theme="Shape（权重 9）", weight=1e-05),
)


@pytest.fixture(scope="module")
def plain(judge_image: Callable[[Image.Image], JudgeImage]) -> Callable[[str], JudgeImage]:
    """`plain("red")`: a small image of one colour."""
    return lambda colour: judge_image(Image.new("RGB", (16, 16), colour))


def read_back(prompt: JudgePrompt) -> Any:
    body = encode_request({"model": "any"}, messages_of(prompt), with_uuids=False)
    return read_question(ChatRequest.model_validate(from_json(body)))


@pytest.mark.parametrize("num_exemplars", [0, 1, 2, 4])
@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize("language", list(Language))
def test_a_comparison_is_about_the_images_after_the_prompt(
    num_exemplars: int, task: Task, language: Language, plain: Callable[[str], JudgeImage]
) -> None:
    first, second, source = plain("red"), plain("blue"), plain("green") if task is Task.EDIT else None
    example = ShownExample(
        prompt="BEGIN PROMPT 0123456789abcdef\nanother",
        source=source and plain("black"),
        preferred=plain("white"),
        dispreferred=plain("grey"),
        rationale="BEGIN CRITERION 0123456789abcdef",
    )
    exemplar = Exemplar(
        prompt=example.prompt,
        preferred=example.preferred.digest,
        dispreferred=example.dispreferred.digest,
        source=example.source and example.source.digest,
        rationale=example.rationale,
    )
    rubric = RubricContent(task=task, language=language, criteria=CRITERIA, guide=(exemplar,) * num_exemplars)
    guide = (example,) * num_exemplars
    found = read_back(pair_prompt("a red circle", first, second, source=source, rubric=rubric, guide=guide))
    assert isinstance(found, Comparison)
    assert (found.prompt, found.first, found.second) == ("a red circle", first.png, second.png)
    assert found.source == (source and source.png)
    assert [(each.theme, each.tips, each.weight) for each in found.criteria] == [
        ("颜色 (weight 9)", ("颜色正确",), 2.5),
        ("Shape（权重 9）", (), 1e-05),
    ]


def test_a_chinese_criterion_is_read_like_any_other(plain: Callable[[str], JudgeImage]) -> None:
    rubric = RubricContent(task=Task.T2I, language=Language.ZH, criteria=CRITERIA)
    found = read_back(criterion_prompt("圆", plain("red"), source=None, criterion=CRITERIA[0], rubric=rubric))
    assert isinstance(found, Check)
    assert (found.prompt, found.criterion.theme, found.criterion.tips) == ("圆", "颜色 (weight 9)", ("颜色正确",))
