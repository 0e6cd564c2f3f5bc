"""What the pixel judge sees in drawings of 32 pixels, slightly noisy, as a tiny image generator makes them."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from services.judging.pixel_judge.picture import Picture, to_oklab
from services.judging.pixel_judge.properties import Property, Sight

Draw = Callable[..., Image.Image]

COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 160, 60),
    "blue": (40, 90, 220),
    "yellow": (240, 200, 40),
    "purple": (150, 50, 190),
}
SHAPES = ("circle", "square", "triangle")


def score(image: Image.Image, prop: Property, prompt: str = "", *, source: Image.Image | None = None) -> float:
    sight = Sight(picture=Picture(image), prompt=prompt, source=None if source is None else Picture(source))
    found = sight.score(prop)
    assert found is not None
    return found


def recolour(image: Image.Image, box: tuple[int, int, int, int], fill: tuple[int, int, int]) -> Image.Image:
    """The image with the inside of a box repainted, softened as a decoder would."""
    changed = image.copy()
    ImageDraw.Draw(changed).ellipse(box, fill=fill)
    return changed.filter(ImageFilter.GaussianBlur(0.4))


def test_oklab_of_white_black_and_red_are_the_published_values() -> None:
    white, black, red = to_oklab(np.array([[1, 1, 1], [0, 0, 0], [1, 0, 0]], dtype=np.float32))
    assert white == pytest.approx([1, 0, 0], abs=1e-3)
    assert black == pytest.approx([0, 0, 0], abs=1e-3)
    assert red == pytest.approx([0.628, 0.225, 0.126], abs=1e-3)


@pytest.mark.parametrize("side", [32, 512])
@pytest.mark.parametrize("colour", COLOURS)
def test_the_named_colour_scores_high_and_every_other_low(colour: str, side: int, draw: Draw) -> None:
    drawn = draw("circle", COLOURS[colour], side=side)
    assert score(drawn, Property.COLOUR, f"a {colour} circle") > 0.75
    for other in COLOURS.keys() - {colour}:
        assert score(drawn, Property.COLOUR, f"a {other} circle") < 0.35


def test_colour_falls_step_by_step_from_red_over_orange_to_yellow(draw: Draw) -> None:
    steps = [(220, 40, 40), (228, 80, 40), (236, 120, 40), (240, 160, 40), (240, 200, 40)]
    scores = [score(draw("circle", step), Property.COLOUR, "a red circle") for step in steps]
    assert scores == sorted(scores, reverse=True)
    assert min(np.diff(scores)) < -0.02
    assert scores[0] - scores[-1] > 0.6


def test_colour_counts_the_share_of_the_drawing_that_has_it(draw: Draw) -> None:
    red = draw("square", COLOURS["red"])
    green = draw("square", COLOURS["green"])
    mixed = [red.copy() for _ in range(3)]
    for image, part in zip(mixed, (8, 16, 24), strict=True):
        image.paste(green.crop((0, 0, part, 32)), (0, 0))
    scores = [score(image, Property.COLOUR, "a red square") for image in (red, *mixed, green)]
    assert scores == sorted(scores, reverse=True)
    assert scores[2] == pytest.approx((scores[0] + scores[-1]) / 2, abs=0.1)


def test_a_backgrounds_colour_is_not_the_objects(draw: Draw) -> None:
    red = draw("circle", COLOURS["red"])
    assert score(red, Property.COLOUR, "a red circle on a white background") == score(
        red, Property.COLOUR, "a red circle"
    )


@pytest.mark.parametrize("side", [32, 512])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_named_shape_scores_high_and_every_other_low(shape: str, side: int, draw: Draw) -> None:
    drawn = draw(shape, COLOURS["blue"], side=side)
    assert score(drawn, Property.SHAPE, f"a blue {shape}") > 0.9
    for other in set(SHAPES) - {shape}:
        assert score(drawn, Property.SHAPE, f"a blue {other}") < 0.45


def test_shape_moves_smoothly_from_a_square_to_a_circle() -> None:
    def rounded(radius: int) -> Image.Image:
        canvas = Image.new("RGB", (256, 256), (240, 240, 240))
        ImageDraw.Draw(canvas).rounded_rectangle((56, 56, 199, 199), radius=radius, fill=(40, 90, 220))
        return canvas.resize((32, 32), Image.Resampling.BOX)

    scores = [score(rounded(radius), Property.SHAPE, "a blue circle") for radius in (0, 18, 36, 54, 72)]
    assert scores == sorted(scores)
    assert max(np.diff(scores)) < 0.4
    assert scores[-1] - scores[0] > 0.5


def test_a_concave_triangle_scores_below_a_clean_one(draw: Draw) -> None:
    clean, concave = draw("triangle", COLOURS["red"]), draw("concave triangle", COLOURS["red"])
    assert score(clean, Property.SHAPE, "a red triangle") - score(concave, Property.SHAPE, "a red triangle") > 0.2


def test_a_glossy_spot_costs_evenness_and_colour_even_when_it_is_as_light_as_paper(draw: Draw) -> None:
    clean = draw("circle", COLOURS["red"])
    for shine in ((255, 255, 255), (240, 240, 240), (255, 170, 170)):
        glossy = recolour(clean, (13, 12, 17, 16), shine)
        assert score(clean, Property.UNIFORM) - score(glossy, Property.UNIFORM) > 0.2
        assert score(clean, Property.COLOUR, "a red circle") - score(glossy, Property.COLOUR, "a red circle") > 0.02


def test_a_triangle_of_two_colours_is_neither_even_nor_red(draw: Draw) -> None:
    clean = draw("triangle", COLOURS["red"])
    mixed = clean.copy()
    mixed.paste(draw("triangle", COLOURS["green"]).crop((16, 0, 32, 32)), (16, 0))
    assert score(mixed, Property.UNIFORM) < 0.2 < 0.8 < score(clean, Property.UNIFORM)
    assert score(clean, Property.COLOUR, "a red triangle") - score(mixed, Property.COLOUR, "a red triangle") > 0.3


def test_a_mottled_fill_is_less_even_the_more_it_is_mottled(draw: Draw) -> None:
    pixels = np.asarray(draw("square", COLOURS["blue"]), dtype=np.float64)
    pattern = np.random.default_rng(1).normal(size=(32, 32, 3))
    scores = [
        score(Image.fromarray(np.clip(pixels + strength * pattern, 0, 255).astype(np.uint8)), Property.UNIFORM)
        for strength in (0, 10, 25, 60)
    ]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.8
    assert scores[-1] < 0.3


def test_marks_beside_the_drawing_make_the_background_less_plain(draw: Draw) -> None:
    clean = draw("circle", COLOURS["red"])
    marked = recolour(clean, (0, 25, 7, 31), (200, 200, 120))
    assert score(clean, Property.BACKGROUND) - score(marked, Property.BACKGROUND) > 0.1


@pytest.mark.parametrize("prop", [Property.COLOUR, Property.SHAPE, Property.UNIFORM])
def test_an_empty_picture_is_no_drawing(prop: Property) -> None:
    paper = np.random.default_rng(0).normal(240, 3, (32, 32, 3)).clip(0, 255).astype(np.uint8)
    assert score(Image.fromarray(paper), prop, "a red circle") == 0


def test_a_speck_earns_little_however_pure_it_is() -> None:
    speck = Image.new("RGB", (32, 32), (240, 240, 240))
    ImageDraw.Draw(speck).rectangle((15, 15, 16, 16), fill=COLOURS["red"])
    assert score(speck, Property.COLOUR, "a red circle") < 0.2


@pytest.mark.parametrize(
    ("prompt", "num_drawn", "expected"), [("three red dots", 3, 1.0), ("3 dots", 2, 0.5), ("a red dot", 3, 1 / 3)]
)
def test_separate_things_are_counted(prompt: str, num_drawn: int, expected: float) -> None:
    image = Image.new("RGB", (64, 64), (240, 240, 240))
    for number in range(num_drawn):
        ImageDraw.Draw(image).ellipse((4 + 20 * number, 24, 16 + 20 * number, 36), fill=COLOURS["red"])
    assert score(image, Property.COUNT, prompt) == pytest.approx(expected)


def test_blur_costs_sharpness_and_noise_costs_freedom_from_noise(draw: Draw) -> None:
    crisp = draw("square", COLOURS["red"], noise=0)
    blurred = crisp.filter(ImageFilter.GaussianBlur(2))
    assert score(crisp, Property.SHARPNESS) > 0.8 > 0.5 > score(blurred, Property.SHARPNESS)
    levels = [score(draw("square", COLOURS["red"], noise=noise), Property.NOISE) for noise in (0, 4, 12)]
    assert levels == sorted(levels, reverse=True)
    assert levels[0] - levels[-1] > 0.5


def test_whole_image_statistics_have_their_known_values() -> None:
    white, black = Image.new("RGB", (8, 8), "white"), Image.new("RGB", (8, 8), "black")
    half = white.copy()
    half.paste(black.crop((0, 0, 4, 8)), (0, 0))
    assert score(white, Property.BRIGHTNESS) == pytest.approx(1.0, abs=1e-3)
    assert score(black, Property.BRIGHTNESS) == pytest.approx(0.0, abs=1e-3)
    assert score(half, Property.CONTRAST) == pytest.approx(1.0, abs=1e-3)
    assert score(white, Property.CONTRAST) == pytest.approx(0.0, abs=1e-3)
    assert score(white, Property.COLOURFULNESS) == pytest.approx(0.0, abs=1e-2)
    assert score(Image.new("RGB", (8, 8), "red"), Property.COLOURFULNESS) == 1.0


def test_an_edit_is_told_from_no_edit_and_from_another_picture(draw: Draw) -> None:
    source = draw("circle", COLOURS["red"])
    edited, other = draw("circle", COLOURS["blue"]), draw("square", COLOURS["blue"], paper=(120, 120, 120))
    preserved = [score(image, Property.PRESERVATION, source=source) for image in (source, edited, other)]
    assert preserved[0] == 1.0
    assert preserved == sorted(preserved, reverse=True)
    assert score(source, Property.EDITED, source=source) == 0.0
    assert score(edited, Property.EDITED, source=source) == 1.0


@pytest.mark.parametrize(
    "prop", [Property.COLOUR, Property.SHAPE, Property.COUNT, Property.PRESERVATION, Property.EDITED]
)
def test_a_property_without_an_occasion_has_no_score(prop: Property, draw: Draw) -> None:
    sight = Sight(picture=Picture(draw("circle", COLOURS["red"])), prompt="something nice", source=None)
    assert sight.score(prop) is None


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 40), (40, 1), (3, 5)])
@pytest.mark.parametrize("prop", list(Property))
def test_every_score_lies_between_zero_and_one_for_any_picture(size: tuple[int, int], prop: Property) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    for image in (Image.fromarray(noise), Image.new("RGB", size[::-1], "red")):
        assert 0 <= score(image, prop, "one red circle", source=image) <= 1
