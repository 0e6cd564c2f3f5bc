"""Labelled pairs of drawings: what the demo's rubric set is learned from.

Owns which mistakes there are to tell apart. Every pair shows one caption twice: drawn as it says, and drawn with one
mistake that a half-trained model makes – another colour, another shape, or a flaw of the drawing itself.

The one rule: the label is the only thing that tells the images of a pair apart for certain; which of them stands first
is a coin.
"""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from arr.demo.flawed_shapes import Flaw, render_flawed
from arr.demo.shapes import DRAWINGS, Colour, Drawing, Pixels, Shape, render

_WRONG_COLOUR, _WRONG_SHAPE = "another colour", "another shape"

_WORDINGS = ("{}", "a drawing of {}", "{} on plain paper", "{} and nothing else")
"""Of a caption. What is learned is measured on prompts that it was not learned from, so there should be many."""

_MISTAKES = (*[_WRONG_COLOUR, _WRONG_SHAPE] * 3, Flaw.MOTTLED, Flaw.TWO_COLOURS, Flaw.GLOSSY, Flaw.NOISY)
"""One after the other: wrong attributes are what the demo's model gets wrong most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledDrawings:
    """Rows and PNG files in the form that `RewardClient.upload_dataset` takes."""

    rows: tuple[dict[str, object], ...]
    """`prompt`, `images`, `rank`."""
    images: dict[str, bytes]
    """PNG by the name that the rows use."""


def make_labelled_drawings(num_pairs: int, *, seed: int) -> LabelledDrawings:
    """Draw pairs of one good and one bad drawing each. Equal seeds give equal files."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, object]] = []
    images: dict[str, bytes] = {}
    for number in range(num_pairs):
        drawing = DRAWINGS[rng.integers(len(DRAWINGS))]
        good = _png(render(drawing, rng))
        bad = _png(_mistaken(drawing, _MISTAKES[number % len(_MISTAKES)], rng))
        names = [f"{number:03d}-a.png", f"{number:03d}-b.png"]
        good_is_first = bool(rng.random() < 0.5)
        images |= dict(zip(names, (good, bad) if good_is_first else (bad, good), strict=True))
        prompt = _WORDINGS[rng.integers(len(_WORDINGS))].format(drawing.prompt)
        rows.append({"prompt": prompt, "images": names, "rank": [1, 2] if good_is_first else [2, 1]})
    return LabelledDrawings(rows=tuple(rows), images=images)


def _mistaken(drawing: Drawing, mistake: str, rng: np.random.Generator) -> Pixels:
    if mistake == _WRONG_COLOUR:
        others = [colour for colour in Colour if colour is not drawing.colour]
        return render(Drawing(colour=others[rng.integers(len(others))], shape=drawing.shape), rng)
    if mistake == _WRONG_SHAPE:
        shapes = [shape for shape in Shape if shape is not drawing.shape]
        return render(Drawing(colour=drawing.colour, shape=shapes[rng.integers(len(shapes))]), rng)
    return render_flawed(drawing, Flaw(mistake), rng)


def _png(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()
