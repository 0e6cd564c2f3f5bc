"""Captioned drawings: one flat, filled shape in one colour on a light grey background, 32×32 RGB.

Owns what a correct drawing looks like and which captions exist; flawed drawings live in `flawed_shapes`. Needs numpy
and pillow only, so that every process can draw.

The one rule: the same generator state gives the same pixels.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

RESOLUTION = 32
"""Width and height of a drawing in pixels."""

BACKGROUND = (240, 240, 240)
"""RGB of the paper."""

_SUPERSAMPLING = 8
"""Outlines are drawn at 8× the resolution and averaged down: 64 grey levels along an edge."""

_CIRCLE_CORNERS = 48

Polygon: TypeAlias = list[tuple[float, float]]
Pixels: TypeAlias = NDArray[np.uint8]
Field: TypeAlias = NDArray[np.floating[Any]]
"""Numbers per pixel: [32, 32], or [32, 32, 3] for a colour per pixel."""


class Colour(StrEnum):
    """The colour words of the captions."""

    RED = "red"
    GREEN = "green"
    BLUE = "blue"
    YELLOW = "yellow"
    PURPLE = "purple"


class Shape(StrEnum):
    """The shape words of the captions."""

    CIRCLE = "circle"
    SQUARE = "square"
    TRIANGLE = "triangle"


PALETTE = {
    Colour.RED: (220, 40, 40),
    Colour.GREEN: (40, 160, 60),
    Colour.BLUE: (30, 80, 230),
    Colour.YELLOW: (240, 200, 40),
    Colour.PURPLE: (165, 40, 180),
}
"""RGB of every colour word; no two are closer than 100 in Euclidean distance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """What a caption asks for."""

    colour: Colour
    shape: Shape

    @property
    def prompt(self) -> str:
        """The caption: "a red circle"."""
        return f"a {self.colour} {self.shape}"

    @classmethod
    def parse(cls, prompt: str) -> Self:
        """Read a caption. Raises `ValueError` for anything but "a COLOUR SHAPE"."""
        match prompt.split(" "):
            case ["a", colour, shape]:
                return cls(colour=Colour(colour), shape=Shape(shape))
            case _:
                raise ValueError(f"{prompt!r} is not a caption of the form 'a red circle'")


DRAWINGS = tuple(Drawing(colour=colour, shape=shape) for colour, shape in product(Colour, Shape))
"""Every drawing there is, 15 of them."""

PROMPTS = tuple(drawing.prompt for drawing in DRAWINGS)
"""Their captions, in the same order."""

HELD_OUT_PROMPTS = ("a red triangle", "a green square", "a blue circle", "a yellow triangle", "a purple square")
"""Captions that training with rewards never sees: every colour once, every shape at least once."""

TRAIN_PROMPTS = tuple(prompt for prompt in PROMPTS if prompt not in HELD_OUT_PROMPTS)
"""The other ten."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Where a shape sits and how large it is, in pixels."""

    x: float
    y: float
    radius: float

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        """Jitter position and size such that every shape stays inside the frame."""
        x, y = rng.uniform(-1.2, 1.2, size=2) + RESOLUTION / 2
        return cls(x=float(x), y=float(y), radius=float(rng.uniform(9.2, 10.8)))


def outline(shape: Shape, at: Placement) -> Polygon:
    """Corners of a shape in pixels. Circle and square of one radius cover the same area; the triangle points up."""
    match shape:
        case Shape.CIRCLE:
            angles = (2 * math.pi * corner / _CIRCLE_CORNERS for corner in range(_CIRCLE_CORNERS))
            unit = [(math.cos(angle), math.sin(angle)) for angle in angles]
        case Shape.SQUARE:
            half = math.sqrt(math.pi) / 2
            unit = [(-half, -half), (half, -half), (half, half), (-half, half)]
        case Shape.TRIANGLE:
            unit = [(0.0, -1.05), (1.15, 0.95), (-1.15, 0.95)]
    return [(at.x + at.radius * x, at.y + at.radius * y) for x, y in unit]


def coverage(polygon: Polygon) -> Field:
    """Fraction of every pixel inside the polygon: [32, 32], 0 to 1."""
    size = RESOLUTION * _SUPERSAMPLING
    canvas = Image.new("L", (size, size), 0)
    ImageDraw.Draw(canvas).polygon([(x * _SUPERSAMPLING, y * _SUPERSAMPLING) for x, y in polygon], fill=255)
    small = canvas.resize((RESOLUTION, RESOLUTION), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float64) / 255


def paint(mask: Field, fill: Field) -> Pixels:
    """Lay a fill (RGB, [3] or [32, 32, 3]) over the background where the mask [32, 32] says: uint8 [32, 32, 3]."""
    alpha = mask[:, :, np.newaxis]
    pixels = alpha * fill + (1 - alpha) * np.asarray(BACKGROUND)
    return to_pixels(pixels)


def flat(colour: Colour) -> Field:
    """RGB of a colour word: [3], 0 to 255."""
    return np.asarray(PALETTE[colour], dtype=np.float64)


def to_pixels(values: Field) -> Pixels:
    """Round and clip to uint8."""
    pixels: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return pixels


def render(drawing: Drawing, rng: np.random.Generator) -> Pixels:
    """Draw what the caption says, at a random place and size: uint8 [32, 32, 3]."""
    return paint(coverage(outline(drawing.shape, Placement.random(rng))), flat(drawing.colour))
