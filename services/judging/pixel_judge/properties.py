"""What the pixel judge can see: named properties, each a score from 0 to 1.

Owns the list of properties; refuses to know which words ask for them (`vocabulary`) and to weigh them (`opinion`).

A property that the prompt gives no occasion for (no colour word, no source image) has no score: None.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from threading import Lock

import numpy as np

from services.judging.pixel_judge import changes, statistics
from services.judging.pixel_judge.colours import colour_match, colour_words
from services.judging.pixel_judge.foreground import Foreground, count_blobs, find_foreground
from services.judging.pixel_judge.picture import Array, Picture
from services.judging.pixel_judge.places import place_named
from services.judging.pixel_judge.shapes import shape_match, shape_word


class Property(StrEnum):
    """Names of the measures."""

    UNIFORM = "uniform fill"
    BACKGROUND = "plain background"
    COLOURFULNESS = "colourfulness"
    COLOUR = "colour named in the prompt"
    SHAPE = "shape named in the prompt"
    COUNT = "number named in the prompt"
    SHARPNESS = "sharpness"
    BRIGHTNESS = "brightness"
    CONTRAST = "contrast"
    NOISE = "freedom from noise"
    PRESERVATION = "preservation of the source"
    EDITED = "whether anything was edited"


_UNEVEN = 0.05
"""OKLab standard deviation inside a fill at which its score is one half; a decoder's ripple stays below 0.02."""

_RESTLESS = 0.04
"""OKLab standard deviation of a background at which its score is one half."""

_NUMBER_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS = {word: number for number, word in enumerate(_NUMBER_WORDS, 1)}
_NUMBER = re.compile(rf"\b(\d{{1,2}}|an?|{'|'.join(_NUMBERS)})\b", re.IGNORECASE)


@dataclass(frozen=True)
class Sight:
    """One image as an answer to one prompt; every measure is taken when first asked for, and once."""

    picture: Picture
    prompt: str
    source: Picture | None
    _scores: dict[Property, float | None] = field(default_factory=dict, init=False, repr=False, compare=False)
    _measuring: Lock = field(default_factory=Lock, init=False, repr=False, compare=False)

    @property
    def num_bytes(self) -> int:
        """About how much memory it keeps occupied."""
        return self.picture.num_bytes + (0 if self.source is None else self.source.num_bytes)

    @cached_property
    def foreground(self) -> Foreground | None:
        """What stands out; of an edit, what it changed. Found once."""
        if self.source is None:
            return find_foreground(self.picture)
        return changes.changed_region(self.picture, self.source)

    def score(self, prop: Property) -> float | None:
        """0 (bad) to 1 (good), or None when there is nothing to judge it by; callable from several threads."""
        with self._measuring:
            if prop not in self._scores:
                self._scores[prop] = _MEASURES[prop](self)
            return self._scores[prop]


def _uniform(sight: Sight) -> float:
    drawn = sight.foreground
    if drawn is None:
        return 0.0
    deviation = _spread(sight.picture.lab[drawn.interior])
    return drawn.size * statistics.evenness(deviation, _UNEVEN)


def _background(sight: Sight) -> float:
    drawn = sight.foreground
    lab = sight.picture.lab
    # Every pixel in proportion to how little the drawing covers it, so that its blurred rim hardly counts.
    outside = lab.reshape(-1, 3) if drawn is None else lab[drawn.coverage < 0.02]
    return statistics.evenness(_spread(outside), _RESTLESS) if len(outside) else 0.0


def _colour(sight: Sight) -> float | None:
    names = colour_words(sight.prompt)
    if not names:
        return None
    drawn = sight.foreground
    return 0.0 if drawn is None else drawn.size * colour_match(sight.picture.lab[drawn.interior], names)


def _shape(sight: Sight) -> float | None:
    shape = shape_word(sight.prompt)
    if shape is None:
        return None
    drawn = sight.foreground
    return 0.0 if drawn is None else drawn.size * shape_match(drawn.coverage, shape)


def _count(sight: Sight) -> float | None:
    named = _NUMBER.search(sight.prompt)
    if named is None:
        return None
    word = named[0].lower()
    wanted = int(word) if word.isdecimal() else _NUMBERS.get(word, 1)
    found = 0 if sight.foreground is None else count_blobs(sight.foreground.filled)
    return 1 / (1 + abs(found - wanted))


def _preservation(sight: Sight) -> float | None:
    if sight.source is None:
        return None
    return changes.preservation(sight.picture, sight.source, place_named(sight.prompt))


def _edited(sight: Sight) -> float | None:
    if sight.source is None:
        return None
    return changes.fulfilment(sight.picture, sight.source, sight.foreground, place_named(sight.prompt))


def _spread(lab: Array) -> float:
    """Root of the summed variances of OKLab pixels [N, 3]."""
    return float(np.sqrt(lab.var(axis=0).sum()))


_MEASURES: dict[Property, Callable[[Sight], float | None]] = {
    Property.UNIFORM: _uniform,
    Property.BACKGROUND: _background,
    Property.COLOURFULNESS: lambda sight: statistics.colourfulness(sight.picture),
    Property.PRESERVATION: _preservation,
    Property.EDITED: _edited,
    Property.COLOUR: _colour,
    Property.SHAPE: _shape,
    Property.COUNT: _count,
    Property.SHARPNESS: lambda sight: statistics.sharpness(sight.picture),
    Property.BRIGHTNESS: lambda sight: statistics.brightness(sight.picture),
    Property.CONTRAST: lambda sight: statistics.contrast(sight.picture),
    Property.NOISE: lambda sight: statistics.freedom_from_noise(sight.picture),
}
