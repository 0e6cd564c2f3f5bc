"""Pictures drawn on the spot, for finding out about the judge itself rather than about anybody's images.

Owns one series of pairs: simple shapes, of which one is as the prompt says and one is not. Refuses to stand for
photographs: what a judge does with drawings is a hint of what it does with other images.

The one rule: the series is fixed. Pair 7 has the same pixels in every process, so that answers to it can be compared.
"""

import io

import numpy as np
from PIL import Image, ImageDraw

from services.judging.images import JudgeImage, read_png
from services.judging.questions import PairQuestion
from shared_schemas.rubrics import Criterion, RubricContent, Task

NUM_PAIRS = 60
"""Every combination of a colour, a shape and a flaw, once."""

_SIDE = 128
"""Pixels."""

_SUPERSAMPLING = 4

_PAPER = (240, 240, 240)

_COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 160, 70),
    "blue": (40, 90, 220),
    "orange": (245, 140, 30),
    "purple": (130, 60, 180),
}

_SHAPES = ("circle", "square", "triangle")

_NOISE = 20.0
"""Standard deviation per channel, of 255: plain to see."""

RUBRIC = RubricContent(
    task=Task.T2I,
    criteria=(
        Criterion(id="colour", theme="Colour", tips=("the object has the colour named in the prompt",)),
        Criterion(id="shape", theme="Shape", tips=("the outline is the named shape",)),
        Criterion(id="noise", theme="Clean drawing", tips=("free of noise and grain",)),
    ),
)
"""What all pairs are judged by."""


def drawn_pairs(num_pairs: int) -> list[PairQuestion]:
    """The first pairs of the series, 1 to `NUM_PAIRS`; the first picture of each is the better one.

    The flaw of the second is in turn: another colour and shape, noise, another shape, another colour.
    """
    if not 1 <= num_pairs <= NUM_PAIRS:
        raise ValueError(f"there are 1 to {NUM_PAIRS} pairs, not {num_pairs}")
    return [_pair(number) for number in range(num_pairs)]


def _pair(number: int) -> PairQuestion:
    colours, flaw = list(_COLOURS), number % 4
    colour, other_colour = colours[number % 5], colours[(number + 2) % 5]
    shape, other_shape = _SHAPES[number % 3], _SHAPES[(number + 1) % 3]
    second = _draw(
        other_colour if flaw in {0, 3} else colour,
        other_shape if flaw in {0, 2} else shape,
        noise=_NOISE if flaw == 1 else 0.0,
    )
    prompt = f"{'an' if colour == 'orange' else 'a'} {colour} {shape}"
    return PairQuestion(prompt=prompt, first=_draw(colour, shape), second=second, source=None, rubric=RUBRIC)


def _draw(colour: str, shape: str, *, noise: float = 0.0) -> JudgeImage:
    size = _SIDE * _SUPERSAMPLING
    canvas = Image.new("RGB", (size, size), _PAPER)
    pen, low, high = ImageDraw.Draw(canvas), size * 0.22, size * 0.78
    match shape:
        case "circle":
            pen.ellipse((low, low, high, high), fill=_COLOURS[colour])
        case "square":
            pen.rectangle((low, low, high, high), fill=_COLOURS[colour])
        case "triangle":
            pen.polygon([(size / 2, low), (high, high), (low, high)], fill=_COLOURS[colour])
    pixels = np.asarray(canvas.resize((_SIDE, _SIDE), Image.Resampling.BOX), dtype=np.float64)
    pixels = pixels + np.random.default_rng(0).normal(0, noise, pixels.shape)
    drawing = Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    drawing.save(buffer, format="PNG")
    return read_png(buffer.getvalue())
