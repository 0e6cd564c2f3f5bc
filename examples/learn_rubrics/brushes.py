"""What a program can paint: shapes in colours by name, on paper or on a photograph, and damage of a known kind.

Owns colours, places and strokes; what makes a picture a good or a bad answer is decided in `shapes` and `edits`.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Pixels: TypeAlias = NDArray[np.floating[Any]]
"""[H, W, 3], or [3] for one colour everywhere; 0 to 255."""
Mask: TypeAlias = NDArray[np.floating[Any]]
"""How much of each pixel is covered: [H, W], 0 to 1."""

_SUPERSAMPLING = 4


class Colour(StrEnum):
    """The colour words of the prompts."""

    RED = "red"
    ORANGE = "orange"
    YELLOW = "yellow"
    GREEN = "green"
    BLUE = "blue"
    PURPLE = "purple"
    PINK = "pink"
    BROWN = "brown"
    BLACK = "black"


RGB = {
    Colour.RED: (220, 40, 40),
    Colour.ORANGE: (240, 140, 30),
    Colour.YELLOW: (240, 205, 45),
    Colour.GREEN: (40, 160, 60),
    Colour.BLUE: (35, 85, 220),
    Colour.PURPLE: (150, 55, 185),
    Colour.PINK: (245, 150, 190),
    Colour.BROWN: (125, 75, 40),
    Colour.BLACK: (15, 15, 15),
}


class Shape(StrEnum):
    """The shape words of the prompts."""

    CIRCLE = "circle"
    SQUARE = "square"
    TRIANGLE = "triangle"


def in_words(colour: Colour, shape: Shape) -> str:
    """As prompts say it: "a red circle"."""
    return f"{'an' if colour is Colour.ORANGE else 'a'} {colour} {shape}"


_ROUND = [(math.cos(2 * math.pi * corner / 64), math.sin(2 * math.pi * corner / 64)) for corner in range(64)]

_OUTLINES = {
    Shape.CIRCLE: _ROUND,
    Shape.SQUARE: [(-0.89, -0.89), (0.89, -0.89), (0.89, 0.89), (-0.89, 0.89)],
    Shape.TRIANGLE: [(0.0, -1.05), (1.15, 0.95), (-1.15, 0.95)],
}
"""Corners around the centre of a shape of radius 1; all cover about the same area."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A rectangle of the picture, in fractions of its width and height, and its name."""

    name: str
    left: float
    top: float
    right: float
    bottom: float

    def box(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Left, top, right, bottom in pixels of a picture of this width and height."""
        width, height = size
        return (
            round(self.left * width),
            round(self.top * height),
            round(self.right * width),
            round(self.bottom * height),
        )


CORNERS = (
    Place(name="upper left corner", left=0, top=0, right=0.5, bottom=0.5),
    Place(name="upper right corner", left=0.5, top=0, right=1, bottom=0.5),
    Place(name="lower left corner", left=0, top=0.5, right=0.5, bottom=1),
    Place(name="lower right corner", left=0.5, top=0.5, right=1, bottom=1),
)

HALVES = (
    Place(name="upper half", left=0, top=0, right=1, bottom=0.5),
    Place(name="lower half", left=0, top=0.5, right=1, bottom=1),
    Place(name="left half", left=0, top=0, right=0.5, bottom=1),
    Place(name="right half", left=0.5, top=0, right=1, bottom=1),
)
"""Opposite ones side by side."""

EVERYWHERE = Place(name="whole", left=0, top=0, right=1, bottom=1)


def paper(side: int, grey: float) -> Image.Image:
    """An empty sheet, 0 = black to 255 = white."""
    return as_image(np.full((side, side, 3), grey))


def shape_in(
    place: Place, shape: Shape, size: tuple[int, int], rng: np.random.Generator, *, squeeze: float = 1.0
) -> Mask:
    """A shape near the middle of a place, at nearly always the same size; `squeeze` < 1 makes it narrow."""
    left, top, right, bottom = place.box(size)
    reach = min(right - left, bottom - top) / 2
    radius = reach * rng.uniform(0.6, 0.75)
    x, y = np.array([left + right, top + bottom]) / 2 + rng.uniform(-0.15, 0.15, size=2) * reach
    canvas = Image.new("L", (size[0] * _SUPERSAMPLING, size[1] * _SUPERSAMPLING), 0)
    corners = [(x + squeeze * radius * dx, y + radius / squeeze * dy) for dx, dy in _OUTLINES[shape]]
    outline = [(_SUPERSAMPLING * float(across), _SUPERSAMPLING * float(down)) for across, down in corners]
    ImageDraw.Draw(canvas).polygon(outline, fill=255)
    return np.asarray(canvas.resize(size, Image.Resampling.BOX), dtype=np.float64) / 255


def all_of(place: Place, size: tuple[int, int]) -> Mask:
    """The place from edge to edge."""
    left, top, right, bottom = place.box(size)
    mask = np.zeros(size[::-1])
    mask[top:bottom, left:right] = 1
    return mask


def flat(colour: Colour) -> Pixels:
    """The same everywhere: [3]."""
    return np.asarray(RGB[colour], dtype=np.float64)


def laid_over(picture: Image.Image, fill: Pixels, mask: Mask) -> Image.Image:
    """Paint over a picture where the mask says so; a mask of one half lets half of it through."""
    alpha = mask[:, :, np.newaxis]
    return as_image((1 - alpha) * np.asarray(picture, dtype=np.float64) + alpha * fill)


def clouds(size: tuple[int, int], rng: np.random.Generator) -> Pixels:
    """Smooth patches of any colour, an eighth of the picture wide: mean 0, standard deviation 1."""
    width, height = size
    coarse = rng.normal(size=(8, 8, 3)).astype(np.float32)
    channels = [Image.fromarray(coarse[:, :, channel]).resize((width, height)) for channel in range(3)]
    patches = np.stack([np.asarray(channel, dtype=np.float64) for channel in channels], axis=2)
    smooth: Pixels = (patches - patches.mean()) / patches.std()
    return smooth


def blurred(picture: Image.Image) -> Image.Image:
    """All of it out of focus."""
    return picture.filter(ImageFilter.GaussianBlur(2.5))


def grainy(picture: Image.Image, rng: np.random.Generator, *, levels: float = 20) -> Image.Image:
    """Pixel noise over all of it, so many grey levels strong."""
    values = np.asarray(picture, dtype=np.float64)
    return as_image(values + rng.normal(0, levels, size=values.shape))


def with_cast(picture: Image.Image, cast: Pixels) -> Image.Image:
    """All of it shifted in colour, by so many levels of red, green and blue."""
    return as_image(np.asarray(picture, dtype=np.float64) + cast)


def strikingness(picture: Image.Image) -> float:
    """Mean and twice the standard deviation of its grey levels: how light it is, and how rich in contrast."""
    grey = np.asarray(picture.convert("L"), dtype=np.float64)
    return float(grey.mean() + 2 * grey.std())


def distance_from(picture: Image.Image, colour: Colour, place: Place) -> float:
    """RGB distance of a colour from what is in a place on average, 0 to 442."""
    there = np.asarray(picture.crop(place.box(picture.size)), dtype=np.float64)
    return float(np.linalg.norm(there.mean(axis=(0, 1)) - flat(colour)))


def as_image(values: Pixels) -> Image.Image:
    """Round and clip [H, W, 3]."""
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
