"""Labelled pairs of drawings: one caption, drawn as it says and drawn with one mistake.

    python -m examples.learn_rubrics.shapes FOLDER

Owns captions and mistakes. The one rule: what a judge without rubrics looks at says nothing about the label. One of the
drawings of every pair is on lighter paper: the better one in exactly half of the pairs of every mistake.
"""

from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from examples.learn_rubrics import brushes
from examples.learn_rubrics.brushes import EVERYWHERE, HALVES, Colour, Mask, Pixels, Shape, flat, laid_over, shape_in
from examples.learn_rubrics.chance import any_but, any_of, dealt
from examples.learn_rubrics.labelled_folder import LabelledPair, write_folder

NUM_PAIRS = 60

SIDE = 64
"""Pixels."""

_LIGHT, _DARK = (240, 250), (195, 210)
"""Grey levels of paper."""


class Mistake(StrEnum):
    """What is wrong with the worse drawing of a pair."""

    OTHER_COLOUR = "other-colour"
    BETWEEN_COLOURS = "between-colours"
    TWO_COLOURS = "two-colours"
    OTHER_SHAPE = "other-shape"
    SQUEEZED = "squeezed"
    SECOND_OBJECT = "second-object"
    MOTTLED = "mottled"
    GLOSSY = "glossy"
    GRAINY = "grainy"
    BLURRED = "blurred"


@dataclass(frozen=True, kw_only=True, slots=True)
class Caption:
    """What a drawing shows."""

    colour: Colour
    shape: Shape

    @property
    def prompt(self) -> str:
        """In words: "a red circle"."""
        return brushes.in_words(self.colour, self.shape)


CAPTIONS = tuple(Caption(colour=colour, shape=shape) for colour, shape in product(Colour, Shape))


def shape_pairs(num_pairs: int = NUM_PAIRS, *, seed: int = 0) -> list[LabelledPair]:
    """All captions and mistakes about equally often. Equal seeds give equal pixels."""
    rng = np.random.default_rng(seed)
    captions = dealt(CAPTIONS, num_pairs, rng)
    mistakes = sorted(dealt(tuple(Mistake), num_pairs, rng))
    pairs = []
    for number, (caption, mistake) in enumerate(zip(captions, mistakes, strict=True)):
        papers = [brushes.paper(SIDE, rng.uniform(*range_)) for range_ in (_LIGHT, _DARK)]
        under_good, under_bad = papers if number % 2 == 0 else papers[::-1]
        pairs.append(
            LabelledPair(
                name=f"{number:03d}-{mistake}",
                prompt=caption.prompt,
                good=laid_over(under_good, flat(caption.colour), _outline(caption, rng)),
                bad=_mistaken(under_bad, caption, mistake, rng),
            )
        )
    return pairs


def _outline(caption: Caption, rng: np.random.Generator, *, squeeze: float = 1.0) -> Mask:
    return shape_in(EVERYWHERE, caption.shape, (SIDE, SIDE), rng, squeeze=squeeze)


def _mistaken(sheet: Image.Image, caption: Caption, mistake: Mistake, rng: np.random.Generator) -> Image.Image:
    fill, mask = flat(caption.colour), _outline(caption, rng)
    other = flat(any_but(caption.colour, tuple(Colour), rng))
    match mistake:
        case Mistake.OTHER_COLOUR:
            return laid_over(sheet, other, mask)
        case Mistake.BETWEEN_COLOURS:
            return laid_over(sheet, (fill + other) / 2, mask)
        case Mistake.TWO_COLOURS:
            return laid_over(
                laid_over(sheet, fill, mask), other, mask * brushes.all_of(any_of(HALVES, rng), sheet.size)
            )
        case Mistake.OTHER_SHAPE:
            shape = any_but(caption.shape, tuple(Shape), rng)
            return laid_over(sheet, fill, _outline(Caption(colour=caption.colour, shape=shape), rng))
        case Mistake.SQUEEZED:
            return laid_over(sheet, fill, _outline(caption, rng, squeeze=rng.uniform(0.76, 0.86)))
        case Mistake.SECOND_OBJECT:
            left, right = (shape_in(half, caption.shape, sheet.size, rng) for half in HALVES[2:])
            return laid_over(laid_over(sheet, fill, left), other, right)
        case Mistake.MOTTLED:
            return laid_over(sheet, fill + rng.uniform(15, 45) * brushes.clouds(sheet.size, rng), mask)
        case Mistake.GLOSSY:
            return laid_over(sheet, _with_spot(fill, rng), mask)
        case Mistake.GRAINY | Mistake.BLURRED:
            return _spoilt(laid_over(sheet, fill, mask), mistake, rng)


def _spoilt(drawing: Image.Image, mistake: Mistake, rng: np.random.Generator) -> Image.Image:
    """A drawing with nothing wrong in it but its quality."""
    is_grainy = mistake is Mistake.GRAINY
    return brushes.grainy(drawing, rng, levels=rng.uniform(8, 25)) if is_grainy else brushes.blurred(drawing)


def _with_spot(fill: Pixels, rng: np.random.Generator) -> Pixels:
    """The fill with a white highlight: [SIDE, SIDE, 3]."""
    centres = np.arange(SIDE) + 0.5
    x, y = SIDE * rng.uniform(0.4, 0.6, size=2)
    squared = (centres[np.newaxis, :] - x) ** 2 + (centres[:, np.newaxis] - y) ** 2
    highlight = rng.uniform(0.6, 1.0) * np.exp(-squared / (2 * (0.1 * SIDE) ** 2))[:, :, np.newaxis]
    spotted: Pixels = fill + highlight * (255 - fill)
    return spotted


def main(
    folder: Annotated[Path, typer.Argument(help="Where to write pairs.jsonl and the images.")],
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
) -> None:
    """Write sixty labelled pairs of drawings."""
    write_folder(shape_pairs(seed=seed), folder, seed=seed)


if __name__ == "__main__":
    typer.run(main)
