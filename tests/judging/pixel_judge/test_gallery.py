"""What was seen is remembered for a while, and never differently."""

from collections.abc import Callable

import pytest
from PIL import Image

from services.judging.images import JudgeImage
from services.judging.pixel_judge.gallery import Gallery
from services.judging.pixel_judge.opinion import preference
from services.judging.pixel_judge.parsing import Comparison, WrittenCriterion
from services.judging.pixel_judge.picture import PictureError
from services.judging.pixel_judge.properties import Property


def test_an_image_is_decoded_once_for_all_prompts_and_measured_once_per_prompt(red_circle: JudgeImage) -> None:
    gallery = Gallery()
    red = gallery.sight(red_circle.png, prompt="red", source=None)
    assert gallery.sight(bytes(bytearray(red_circle.png)), prompt="red", source=None) is red
    blue = gallery.sight(red_circle.png, prompt="blue", source=None)
    assert blue.picture is red.picture
    assert blue.score(Property.COLOUR) != red.score(Property.COLOUR)
    edited = gallery.sight(red_circle.png, prompt="red", source=red_circle.png)
    assert edited.source is red.picture
    assert edited.score(Property.PRESERVATION) == 1
    assert red.score(Property.PRESERVATION) is None


def test_a_broken_image_is_refused_every_time() -> None:
    gallery = Gallery()
    for _ in range(2):
        with pytest.raises(PictureError):
            gallery.sight(b"not a PNG", prompt="", source=None)


def test_an_answer_does_not_depend_on_what_was_seen_before(
    draw: Callable[..., Image.Image], judge_image: Callable[[Image.Image], JudgeImage]
) -> None:
    criteria = tuple(WrittenCriterion(theme=str(prop), tips=(), weight=1.0) for prop in Property)
    images = [judge_image(draw(shape, (200, 60, 40 + 30 * n))).png for n, shape in enumerate(("circle", "square"))]
    questions = [
        Comparison(prompt=prompt, criteria=criteria, first=first, second=second, source=images[0])
        for prompt in ("a red circle", "a blue square")
        for first, second in (images, images[::-1])
    ]
    warm, tiny = Gallery(), Gallery(room_bytes=0)
    once = [preference(question, Gallery()) for question in questions]
    assert [preference(question, warm) for question in questions + questions] == once + once
    assert [preference(question, tiny) for question in questions + questions] == once + once
    assert len(set(once)) == 4
