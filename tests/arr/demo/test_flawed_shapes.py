import numpy as np
import pytest

from arr.demo.flawed_shapes import Flaw, render_flawed
from arr.demo.shapes import BACKGROUND, DRAWINGS, PALETTE, Colour, Drawing, Placement, Shape, coverage, outline

RED_CIRCLE = Drawing(colour=Colour.RED, shape=Shape.CIRCLE)


@pytest.mark.parametrize("flaw", Flaw)
def test_every_flaw_is_visible(flaw: Flaw) -> None:
    for seed in range(20):
        flawed = render_flawed(RED_CIRCLE, flaw, np.random.default_rng(seed))
        at = Placement.random(np.random.default_rng(seed))
        clean = np.where(coverage(outline(Shape.CIRCLE, at))[:, :, None] > 0.5, PALETTE[Colour.RED], BACKGROUND)
        wrong_pixels = (np.abs(flawed - clean).sum(axis=2) > 60).sum()
        assert wrong_pixels >= 10


@pytest.mark.parametrize("flaw", Flaw)
def test_a_flawed_drawing_is_repeatable(flaw: Flaw) -> None:
    first, second = (render_flawed(DRAWINGS[4], flaw, np.random.default_rng(7)) for _ in range(2))
    assert first.shape == (32, 32, 3)
    assert (first == second).all()


def test_a_drawing_between_two_colours_is_neither() -> None:
    image = render_flawed(RED_CIRCLE, Flaw.BETWEEN_COLOURS, np.random.default_rng(0))
    distances = np.linalg.norm(np.array(list(PALETTE.values())) - image[16, 16], axis=1)
    assert distances.min() > 40


def test_a_missing_shape_leaves_nearly_blank_paper() -> None:
    image = render_flawed(RED_CIRCLE, Flaw.MISSING, np.random.default_rng(0))
    assert np.abs(image.astype(int) - BACKGROUND).mean() < 20


def test_a_concave_triangle_covers_less_than_a_straight_one() -> None:
    image = render_flawed(RED_CIRCLE, Flaw.CONCAVE, np.random.default_rng(5))
    straight = coverage(outline(Shape.TRIANGLE, Placement.random(np.random.default_rng(5)))).sum()
    covered = (np.abs(image.astype(int) - BACKGROUND).sum(axis=2) > 150).sum()
    assert covered < 0.85 * straight
