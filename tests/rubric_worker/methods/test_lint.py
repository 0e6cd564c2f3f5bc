import pytest

from services.judging.writing import ProposedCriterion
from services.rubric_worker.methods.lint import fault, lint, normalised


def criterion(statement: str, theme: str = "Theme") -> ProposedCriterion:
    return ProposedCriterion(theme=theme, statement=statement)


@pytest.mark.parametrize(
    "statement",
    [
        "The cup stands to the left of the table.",
        "The second cup from the right is red.",
        "The subject is sharper than the background.",
        "The dog is larger than the other dog in the scene.",
        "There are more than three apples.",
        "Both hands have five fingers.",
        "The image shows one candle.",
        "The image 16:9 format is kept.",
        "Neither eye is deformed.",
        "The picture is free of noise.",
        "In the image 3 apples are visible.",
        "The person on the right holds a cup.",
        "The third candle is lit.",
        "The picture on the left wall is straight.",
        "Most of the image is in focus.",
        "The edit leaves everything outside the masked area as it is in the source image.",
        "画面中的杯子位于桌子左侧。",
        "人物的比例自然。",
        "对比度更高的主体位于中央。",
        "图中有两个苹果。",
        "图像中第一排有一个人。",
        "与原图相比，背景保持不变。",
        "图中有三只猫。",
        "图3D效果自然。",
        "图中第三张桌子完整。",
        "图像一片清晰。",
        "墙上挂着两张照片。",
        "物体左侧的一张桌子完整。",
        "双手各有五根手指，二者对称。",
        "左边的人物面部清晰。",
    ],
)
def test_statements_about_one_image_pass(statement: str) -> None:
    assert fault(criterion(statement)) is None


@pytest.mark.parametrize(
    "statement",
    [
        "",
        "   ",
        "…",
        "x" * 301,
        "The colours are better than in the other image.",
        "It looks better than the alternative.",
        "Image 1 shows the object.",
        "The object of Image B is round.",
        "The first image has the right colour.",
        "The left image follows the prompt.",
        "Candidate #2 is sharper.",
        "It is sharper than the second one.",
        "Compared to the other candidate, the light is soft.",
        "Both images show a cat.",
        "The preferred image shows a cat.",
        "The hands are worse than expected.",
        "Image 3 shows the object.",
        "The image #3 is red.",
        "Image C has the right colour.",
        "The image (1) is red.",
        "The third image is red.",
        "The rightmost image is red.",
        "The image on the left follows the prompt.",
        "The one on the right is sharp.",
        "It is sharper than its rival.",
        "The lighting is better.",
        "The more realistic image has soft shadows.",
        "The better image has soft shadows.",
        "The preferred one shows a cat.",
        "It outperforms the alternative.",
        "这张图比另一张更清晰。",
        "颜色比背景更鲜艳。",
        "图1的颜色正确。",
        "图像B中有一只猫。",
        "第一张图符合提示词。",
        "左图更自然。",
        "两张图都有一只猫。",
        "与另一张图相比，光线柔和。",
        "质量优于其他候选。",
        "图3的颜色正确。",
        "图C更好。",
        "图像三符合提示词。",
        "A图正确。",
        "第三张图符合提示词。",
        "左侧图像正确。",
        "右边那张正确。",
        "最后一张图正确。",
        "前者的颜色正确，后者不正确。",
        "更好的那张图像颜色正确。",
        "人们更喜欢的图像颜色正确。",
        "相比之下更自然。",
        "哪一张图更好。",
        "两者中更清晰的一张。",
    ],
)
def test_what_cannot_be_checked_on_one_image_is_refused(statement: str) -> None:
    assert fault(criterion(statement)) is not None


def test_the_theme_is_looked_at_too() -> None:
    assert fault(criterion("The object is red.", theme="Image 1")) is not None
    assert fault(criterion("The object is red.", theme="")) is not None
    assert fault(criterion("The object is red.", theme="x" * 201)) is not None


def test_of_equal_statements_the_first_is_kept_and_the_others_are_refused() -> None:
    first = criterion("The object is red.", theme="Colour")
    linted = lint([first, criterion("the  OBJECT is red"), criterion("Image 1 is red.")])
    assert (linted.kept, linted.num_refused) == ((first,), 2)


def test_control_characters_and_line_breaks_become_blanks() -> None:
    linted = lint([criterion("The\x00 object\n is\tred.", theme="A\nB")])
    assert linted.kept == (criterion("The object is red.", theme="A B"),)


def test_normalised_text_has_neither_case_nor_punctuation() -> None:
    assert normalised("The object, is RED!") == normalised("the object is red") == "the object is red"
    assert normalised("颜色，正确。") == "颜色 正确"
