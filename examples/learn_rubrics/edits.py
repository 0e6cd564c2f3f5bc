"""Labelled edits of real photographs: one instruction, followed, and followed badly.

    python -m examples.learn_rubrics.edits FOLDER

Owns the instructions and the mistakes. Every photograph is edited three times, and every instruction names what is on
it, so that no photograph of the training pairs comes back in the held-out ones.

The one rule: what a judge without rubrics looks at says nothing about the label. The better edit is the lighter one, or
the one with more contrast, in about half of the pairs.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from examples.learn_rubrics import brushes
from examples.learn_rubrics.brushes import CORNERS, EVERYWHERE, HALVES, Colour, Place, Shape
from examples.learn_rubrics.chance import any_but, any_of, dealt
from examples.learn_rubrics.labelled_folder import LabelledPair, write_folder
from examples.learn_rubrics.photographs import Photograph, photographs


class Mistake(StrEnum):
    """What is wrong with the worse edit of a pair."""

    NOTHING_DONE = "nothing-done"
    OTHER_COLOUR = "other-colour"
    OTHER_SHAPE = "other-shape"
    OTHER_PLACE = "other-place"
    TOO_FAINT = "too-faint"
    TOO_MUCH = "too-much"
    REST_BLURRED = "rest-blurred"
    REST_GRAINY = "rest-grainy"
    REST_TINTED = "rest-tinted"


_OF_PAINTING = tuple(Mistake)
_OF_TINTING = tuple(mistake for mistake in Mistake if mistake is not Mistake.OTHER_SHAPE)

_FAINT = 0.35
"""Share of the opacity that an edit should have had."""

_GLASS = 0.65
"""Opacity of a tint: what is under it stays visible."""

_MIN_DISTANCE = 110
"""RGB distance of a colour from what it is laid over: less would hardly be seen."""

_CAST = 16.0
"""Levels."""

_GRAIN = 12.0
"""Levels."""

_NUM_DRAFTS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """What an instruction asks for."""

    colour: Colour
    shape: Shape | None
    """None: the whole place gets the colour."""
    place: Place

    def instruction(self, subject: str) -> str:
        """In words: "Paint a red circle in the upper left corner of the picture of a cat."."""
        if self.shape is None:
            return f"Tint the {self.place.name} of the picture of {subject} {self.colour}."
        what = brushes.in_words(self.colour, self.shape)
        return f"Paint {what} in the {self.place.name} of the picture of {subject}."

    def done(self, photo: Image.Image, rng: np.random.Generator, *, strength: float = 1.0) -> Image.Image:
        """The photograph edited as asked."""
        if self.shape is None:
            mask = _GLASS * brushes.all_of(self.place, photo.size)
        else:
            mask = brushes.shape_in(self.place, self.shape, photo.size, rng)
        return brushes.laid_over(photo, brushes.flat(self.colour), strength * mask)


def edit_pairs(*, seed: int = 0) -> list[LabelledPair]:
    """Two shapes painted and one half tinted on every photograph. Equal seeds give equal pixels."""
    rng = np.random.default_rng(seed)
    photos = photographs()
    paintings = iter(dealt(_OF_PAINTING, 2 * len(photos), rng))
    tints = iter(dealt(_OF_TINTING, len(photos), rng))
    pairs: list[LabelledPair] = []
    for photo in photos:
        first, second = rng.permutation(len(CORNERS))[:2]
        for place in (CORNERS[first], CORNERS[second], any_of(HALVES, rng)):
            mistake = next(tints if place in HALVES else paintings)
            wants_striking = len(pairs) % 2 == 0
            pairs.append(_balanced(len(pairs), photo, place, mistake, rng, good_is_striking=wants_striking))
    return pairs


def _balanced(
    number: int, photo: Photograph, place: Place, mistake: Mistake, rng: np.random.Generator, *, good_is_striking: bool
) -> LabelledPair:
    """Of several pairs that could be made, the one whose better edit is most striking beside the other, or least."""
    pairs = [_pair(number, photo, place, mistake, rng) for _ in range(_NUM_DRAFTS)]
    leads = [brushes.strikingness(pair.good) - brushes.strikingness(pair.bad) for pair in pairs]
    return pairs[int(np.argmax(leads) if good_is_striking else np.argmin(leads))]


def _pair(number: int, photo: Photograph, place: Place, mistake: Mistake, rng: np.random.Generator) -> LabelledPair:
    shape = None if place in HALVES else any_of(tuple(Shape), rng)
    ask = Ask(colour=_visible_colour(photo.image, place, rng), shape=shape, place=place)
    return LabelledPair(
        name=f"{number:03d}-{mistake}",
        prompt=ask.instruction(photo.subject),
        good=ask.done(photo.image, rng),
        bad=_mistaken(photo.image, ask, mistake, rng),
        source=photo.image,
        source_name=photo.subject.replace(" ", "-"),
    )


def _mistaken(photo: Image.Image, ask: Ask, mistake: Mistake, rng: np.random.Generator) -> Image.Image:
    match mistake:
        case Mistake.NOTHING_DONE:
            return photo
        case Mistake.OTHER_COLOUR:
            other = _visible_colour(photo, ask.place, rng, but=ask.colour)
            return Ask(colour=other, shape=ask.shape, place=ask.place).done(photo, rng)
        case Mistake.OTHER_SHAPE:
            return Ask(colour=ask.colour, shape=any_but(ask.shape, tuple(Shape), rng), place=ask.place).done(photo, rng)
        case Mistake.OTHER_PLACE:
            return _elsewhere(ask, rng).done(photo, rng)
        case Mistake.TOO_FAINT:
            return ask.done(photo, rng, strength=_FAINT)
        case Mistake.TOO_MUCH:
            everywhere = Ask(colour=ask.colour, shape=None, place=EVERYWHERE)
            again = everywhere if ask.shape is None else _elsewhere(ask, rng)
            return again.done(ask.done(photo, rng), rng)
        case Mistake.REST_BLURRED:
            return ask.done(brushes.blurred(photo), rng)
        case Mistake.REST_GRAINY:
            return ask.done(brushes.grainy(photo, rng, levels=_GRAIN), rng)
        case Mistake.REST_TINTED:
            return ask.done(brushes.with_cast(photo, rng.permutation([_CAST, 0.0, -_CAST])), rng)


def _elsewhere(ask: Ask, rng: np.random.Generator) -> Ask:
    """The same in another corner, or in the opposite half."""
    if ask.shape is None:
        opposite = HALVES[HALVES.index(ask.place) ^ 1]  # they stand side by side
        return Ask(colour=ask.colour, shape=None, place=opposite)
    return Ask(colour=ask.colour, shape=ask.shape, place=any_but(ask.place, CORNERS, rng))


def _visible_colour(photo: Image.Image, place: Place, rng: np.random.Generator, *, but: Colour | None = None) -> Colour:
    """A colour that stands out from what is there, whether it is laid over a part of it or all of it."""
    distances = {colour: brushes.distance_from(photo, colour, place) for colour in Colour if colour is not but}
    return any_of([colour for colour, distance in distances.items() if distance >= _MIN_DISTANCE], rng)


def main(
    folder: Annotated[Path, typer.Argument(help="Where to write pairs.jsonl and the images.")],
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
) -> None:
    """Write labelled pairs of edited photographs."""
    write_folder(edit_pairs(seed=seed), folder, seed=seed)


if __name__ == "__main__":
    typer.run(main)
