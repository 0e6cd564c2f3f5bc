"""Words for places, and the pixels they mean."""

import numpy as np
import pytest

from services.judging.pixel_judge.places import Place, place_named

TOP, BOTTOM, LEFT, RIGHT = (0.0, 0.5), (0.5, 1.0), (0.0, 0.5), (0.5, 1.0)
ALL, MIDDLE = (0.0, 1.0), (0.25, 0.75)


@pytest.mark.parametrize(
    ("prompt", "rows", "columns"),
    [
        ("Paint a red circle in the upper left corner.", TOP, LEFT),
        ("put a logo in the bottom right corner", BOTTOM, RIGHT),
        ("tint the lower half of the picture blue", BOTTOM, ALL),
        ("remove everything on the left side", ALL, LEFT),
        ("darken the right-hand side", ALL, RIGHT),
        ("add a moon at the top", TOP, ALL),
        ("add a moon at the top left", TOP, LEFT),
        ("draw a lamp in the middle", MIDDLE, MIDDLE),
        ("A Lamp In The Centre", MIDDLE, MIDDLE),
        ("first the left half, then the right half", ALL, LEFT),
    ],
)
def test_words_name_a_part_of_the_picture(prompt: str, rows: tuple[float, float], columns: tuple[float, float]) -> None:
    assert place_named(prompt) == Place(rows=rows, columns=columns)


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "make it snow",
        "use the right colours",
        "paint what is left of the wall",
        "half a moon",
        "a laptop on a desk",
    ],
)
def test_most_prompts_name_no_place(prompt: str) -> None:
    assert place_named(prompt) is None


def test_a_place_is_those_pixels_whose_centres_lie_in_it() -> None:
    corner = Place(rows=BOTTOM, columns=LEFT).mask((4, 6))
    assert np.argwhere(corner).tolist() == [[2, 0], [2, 1], [2, 2], [3, 0], [3, 1], [3, 2]]
    # Of five rows the middle one has its centre on the border, which belongs to the lower half.
    assert Place(rows=TOP, columns=ALL).mask((5, 1)).ravel().tolist() == [True, True, False, False, False]
    assert Place(rows=BOTTOM, columns=ALL).mask((5, 1)).ravel().tolist() == [False, False, True, True, True]


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 2), (64, 43)])
def test_both_halves_are_the_whole_picture(shape: tuple[int, int]) -> None:
    upper, lower = (Place(rows=rows, columns=ALL).mask(shape) for rows in (TOP, BOTTOM))
    assert (upper ^ lower).all()
