"""What was seen is remembered for a while, and never differently."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from PIL import Image

from services.judging.images import JudgeImage
from services.judging.pixel_judge.gallery import Gallery, Recent
from services.judging.pixel_judge.opinion import preference
from services.judging.pixel_judge.parsing import Comparison, WrittenCriterion
from services.judging.pixel_judge.picture import PictureError
from services.judging.pixel_judge.properties import Property


@dataclass(frozen=True)
class Thing:
    num_bytes: int


def test_what_was_used_longest_ago_makes_room() -> None:
    made: list[str] = []
    recent: Recent[str, Thing] = Recent(room_bytes=10)

    def get(key: str, num_bytes: int = 4) -> None:
        recent.get(key, lambda: made.append(key) or Thing(num_bytes))  # type: ignore[func-returns-value]

    for key in ("a", "b", "a", "c", "a", "b"):
        get(key)
    assert made == ["a", "b", "c", "b"]  # "c" pushed "b" out, since "a" had been used after it
    get("larger than the room", 11)
    get("a")
    assert made[-2:] == ["larger than the room", "a"]


def test_threads_that_ask_at_once_share_one_making() -> None:
    recent: Recent[str, Thing] = Recent(room_bytes=10)
    release, num_made = threading.Event(), []

    def make() -> Thing:
        num_made.append(1)
        release.wait(10)
        return Thing(1)

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(recent.get, "a", make) for _ in range(4)]
        assert recent.get("b", lambda: Thing(2)) == Thing(2)  # another key is not held up by the one in the making
        release.set()
        found = [one.result(timeout=10) for one in asked]
    assert len(num_made) == 1
    assert all(one is found[0] for one in found)


def test_a_failure_is_not_kept() -> None:
    recent: Recent[str, Thing] = Recent(room_bytes=10)

    def fail() -> Thing:
        raise ValueError("not this time")

    for _ in range(2):
        with pytest.raises(ValueError, match="not this time"):
            recent.get("a", fail)
    assert recent.get("a", lambda: Thing(3)) == Thing(3)


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
