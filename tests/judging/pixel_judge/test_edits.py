"""What the pixel judge sees in edits of a picture that has no plain background."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from services.judging.pixel_judge.picture import Picture
from services.judging.pixel_judge.properties import Property, Sight

RED, BLUE = (220, 40, 40), (40, 90, 220)
ASKED = "Paint a red circle in the upper left corner."

Box = tuple[int, int, int, int]
UPPER_LEFT: Box = (12, 12, 50, 50)
LOWER_RIGHT: Box = (76, 76, 114, 114)


@pytest.fixture(scope="module")
def scene() -> Image.Image:
    """Busy from edge to edge: patches a few pixels wide, of any colour but red and blue."""
    patches = np.random.default_rng(3).integers((20, 20, 20), (120, 236, 120), (32, 32, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize((128, 128), Image.Resampling.BICUBIC)


def painted(picture: Image.Image, box: Box = UPPER_LEFT, fill: tuple[int, int, int] = RED) -> Image.Image:
    edited = picture.copy()
    ImageDraw.Draw(edited).ellipse(box, fill=fill)
    return edited


def score(edited: Image.Image, source: Image.Image, prop: Property, prompt: str = ASKED) -> float:
    found = Sight(picture=Picture(edited), prompt=prompt, source=Picture(source)).score(prop)
    assert found is not None
    return found


def test_colour_shape_and_number_are_those_of_what_changed(scene: Image.Image) -> None:
    asked = painted(scene)
    square = scene.copy()
    ImageDraw.Draw(square).rectangle(UPPER_LEFT, fill=RED)
    assert score(asked, scene, Property.COLOUR) > 0.75 > 0.3 > score(painted(scene, fill=BLUE), scene, Property.COLOUR)
    assert score(asked, scene, Property.SHAPE) > 0.9 > 0.45 > score(square, scene, Property.SHAPE)
    assert score(asked, scene, Property.COUNT) == 1
    assert score(painted(asked, LOWER_RIGHT), scene, Property.COUNT) == pytest.approx(1 / 2)
    assert score(asked, scene, Property.UNIFORM) > 0.9


@pytest.mark.parametrize("prop", [Property.COLOUR, Property.SHAPE, Property.UNIFORM, Property.EDITED])
def test_an_edit_that_changes_nothing_has_done_nothing(prop: Property, scene: Image.Image) -> None:
    assert score(scene, scene, prop) == 0


def test_a_faint_edit_hardly_has_its_colour(scene: Image.Image) -> None:
    strengths = [Image.blend(scene, painted(scene), share) for share in (1.0, 0.6, 0.3)]
    scores = [score(edited, scene, Property.COLOUR) for edited in strengths]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] - scores[-1] > 0.4


def test_an_edit_counts_where_it_was_asked_for(scene: Image.Image) -> None:
    asked, elsewhere = painted(scene), painted(scene, LOWER_RIGHT)
    assert score(asked, scene, Property.EDITED) == 1
    assert score(elsewhere, scene, Property.EDITED) == 0
    assert score(painted(asked, LOWER_RIGHT), scene, Property.EDITED) == pytest.approx(0.5, abs=0.05)
    # Where nobody says where, everywhere will do.
    assert score(elsewhere, scene, Property.EDITED, "Paint a red circle.") == 1


def test_the_edit_itself_costs_no_preservation_where_it_was_asked_for(scene: Image.Image) -> None:
    asked, elsewhere = painted(scene), painted(scene, LOWER_RIGHT)
    assert score(asked, scene, Property.PRESERVATION) == 1
    assert score(elsewhere, scene, Property.PRESERVATION) < 0.95
    assert score(asked, scene, Property.PRESERVATION, "Paint a red circle.") < 0.95


@pytest.mark.parametrize(
    "damage",
    [
        lambda picture: picture.filter(ImageFilter.GaussianBlur(2.5)),
        lambda picture: Image.fromarray(
            (np.asarray(picture) + np.random.default_rng(0).normal(0, 20, (128, 128, 3))).clip(0, 255).astype(np.uint8)
        ),
        lambda picture: Image.fromarray((np.asarray(picture) * (0.85, 1.0, 0.85)).astype(np.uint8)),
    ],
    ids=["blur", "grain", "cast"],
)
def test_damage_to_the_rest_costs_preservation_and_nothing_that_was_asked_for(
    damage: Callable[[Image.Image], Image.Image], scene: Image.Image
) -> None:
    clean, damaged = painted(scene), painted(damage(scene))
    assert score(damaged, scene, Property.PRESERVATION) < 0.75
    for prop in (Property.COLOUR, Property.SHAPE, Property.EDITED):
        assert score(damaged, scene, prop) == pytest.approx(score(clean, scene, prop), abs=0.1)


def test_an_edit_of_another_size_is_compared_at_the_sources_size(scene: Image.Image) -> None:
    larger = painted(scene).resize((256, 256), Image.Resampling.NEAREST)
    assert score(larger, scene, Property.SHAPE) > 0.9
    assert score(larger, scene, Property.EDITED) == 1
    assert score(larger, scene, Property.PRESERVATION) > 0.9
