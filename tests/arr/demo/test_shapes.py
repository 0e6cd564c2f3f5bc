import numpy as np
import pytest

from arr.demo.shapes import (
    BACKGROUND,
    DRAWINGS,
    HELD_OUT_PROMPTS,
    PALETTE,
    PROMPTS,
    RESOLUTION,
    TRAIN_PROMPTS,
    Colour,
    Drawing,
    Pixels,
    Placement,
    Shape,
    coverage,
    outline,
    render,
)


def is_coloured(image: Pixels) -> np.ndarray:
    """Where a pixel is well away from the paper: [32, 32]."""
    distance: np.ndarray = np.abs(image.astype(int) - BACKGROUND).sum(axis=2)
    return distance > 150


def test_there_are_fifteen_captions_and_each_reads_back_as_its_drawing() -> None:
    assert len(set(PROMPTS)) == 15
    assert [Drawing.parse(prompt) for prompt in PROMPTS] == list(DRAWINGS)
    assert PROMPTS[0] == "a red circle"


@pytest.mark.parametrize("prompt", ["red circle", "a pink circle", "a red hexagon", "a red  circle", "a red circle "])
def test_text_that_is_no_caption_is_refused(prompt: str) -> None:
    with pytest.raises(ValueError, match=r"caption|valid"):
        Drawing.parse(prompt)


def test_ten_captions_are_for_training_and_the_other_five_held_out() -> None:
    assert len(TRAIN_PROMPTS) == 10
    assert set(TRAIN_PROMPTS) | set(HELD_OUT_PROMPTS) == set(PROMPTS)
    assert not set(TRAIN_PROMPTS) & set(HELD_OUT_PROMPTS)


def test_the_held_out_captions_have_every_colour_once_and_every_shape() -> None:
    held_out = [Drawing.parse(prompt) for prompt in HELD_OUT_PROMPTS]
    assert sorted(drawing.colour for drawing in held_out) == sorted(Colour)
    assert {drawing.shape for drawing in held_out} == set(Shape)


@pytest.mark.parametrize("drawing", DRAWINGS, ids=lambda drawing: drawing.prompt)
def test_a_render_is_filled_with_the_colour_its_caption_names(drawing: Drawing) -> None:
    image = render(drawing, np.random.default_rng(0))
    assert image.shape == (RESOLUTION, RESOLUTION, 3)
    assert image.dtype == np.uint8
    assert tuple(np.median(image[is_coloured(image)], axis=0)) == PALETTE[drawing.colour]
    assert tuple(image[0, 0]) == BACKGROUND


def test_the_share_of_its_box_that_is_filled_tells_the_shapes_apart() -> None:
    # circle π/4, square 1, triangle 1/2 of the bounding box; one pixel of rounding at the edges moves each a little.
    expected = {Shape.CIRCLE: 0.785, Shape.SQUARE: 1.0, Shape.TRIANGLE: 0.5}
    for drawing in DRAWINGS:
        filled = is_coloured(render(drawing, np.random.default_rng(1)))
        rows, columns = np.flatnonzero(filled.any(axis=1)), np.flatnonzero(filled.any(axis=0))
        box = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
        assert filled.sum() / box == pytest.approx(expected[drawing.shape], abs=0.07)


def test_coverage_counts_the_area_of_a_polygon() -> None:
    # A square of radius r has area π·r² = 3.1416 · 64 = 201.06; drawing includes the far edges, 1/8 pixel each.
    area = coverage(outline(Shape.SQUARE, Placement(x=16.0, y=16.0, radius=8.0))).sum()
    assert area == pytest.approx(201.06, rel=0.03)


def test_every_shape_stays_inside_the_frame() -> None:
    rng = np.random.default_rng(2)
    corners = np.concatenate([outline(shape, Placement.random(rng)) for shape in Shape for _ in range(200)])
    assert corners.min() > 1
    assert corners.max() < RESOLUTION - 1


def test_one_generator_state_gives_one_image_and_the_next_gives_another() -> None:
    drawing = DRAWINGS[0]
    rng = np.random.default_rng(3)
    first = render(drawing, rng)
    assert (first == render(drawing, np.random.default_rng(3))).all()
    assert (first != render(drawing, rng)).any()


def test_no_two_colours_are_easily_confused() -> None:
    palette = np.array(list(PALETTE.values()))
    distances = np.linalg.norm(palette[:, None] - palette[None], axis=2)
    assert distances[~np.eye(5, dtype=bool)].min() > 100
