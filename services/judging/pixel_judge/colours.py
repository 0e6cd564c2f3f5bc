"""Colour words and how much of a thing has that colour.

Owns the eleven basic colour terms of English (Berlin and Kay, 1969) as points in OKLab; no other names are known.
"""

import re

import numpy as np

from services.judging.pixel_judge.picture import Array, to_oklab

_SRGB = {
    "red": (218, 38, 38),
    "orange": (242, 140, 30),
    "yellow": (243, 208, 45),
    "green": (45, 160, 65),
    "blue": (40, 90, 215),
    "purple": (145, 55, 185),
    "pink": (245, 150, 190),
    "brown": (120, 72, 38),
    "black": (15, 15, 15),
    "white": (252, 252, 252),
    "grey": (128, 128, 128),
}
_SYNONYMS = {"gray": "grey", "violet": "purple", "scarlet": "red", "crimson": "red", "golden": "yellow"}
_INDEX = {name: index for index, name in enumerate(_SRGB)}

_LIGHTNESS_WEIGHT = 0.4
"""Hue and chroma decide a colour's name more than lightness does: dark green is green."""

_WIDTH = 0.06
"""OKLab distance over which one colour name gives way to the next."""

_REACH = 0.15
"""OKLab distance at which a wrong colour still earns e^−1 of the credit for being near."""

_SHARE_WEIGHT = 0.6

_WEIGHTS = np.array([_LIGHTNESS_WEIGHT, 1, 1], dtype=np.float32)
_PROTOTYPES = to_oklab(np.array(list(_SRGB.values()), dtype=np.float32) / 255) * _WEIGHTS

_WORD = re.compile(rf"\b({'|'.join([*_SRGB, *_SYNONYMS])})\b", re.IGNORECASE)
_BACKGROUND_PHRASE = re.compile(r"\b(on|against|with|over) [^,.;]*?\b(background|backdrop)\b", re.IGNORECASE)


def colour_words(prompt: str) -> tuple[str, ...]:
    """Basic colour names in the prompt, each once; a background's colour is not the object's."""
    words = (word.lower() for word in _WORD.findall(_BACKGROUND_PHRASE.sub("", prompt)))
    return tuple(dict.fromkeys(_SYNONYMS.get(word, word) for word in words))


def colour_match(lab: Array, names: tuple[str, ...]) -> float:
    """How much OKLab pixels [N, 3] have the named colours, 0 to 1.

    Six tenths for the share of pixels that the names describe better than all other names do, four tenths for being
    near. With several names each must have its part: a name with less than half its even share counts proportionally.
    """
    wanted = [_INDEX[name] for name in names]
    squared = ((lab[:, np.newaxis] * _WEIGHTS - _PROTOTYPES) ** 2).sum(axis=2)
    logits = -squared / (2 * _WIDTH**2)
    likelihood = np.exp(logits - logits.max(axis=1, keepdims=True))
    belongs = likelihood / likelihood.sum(axis=1, keepdims=True)
    shares = belongs[:, wanted].mean(axis=0)
    nearness = float(np.exp(-np.sqrt(squared[:, wanted].min(axis=1)) / _REACH).mean())
    balance = float(np.minimum(1, 2 * len(names) * shares).mean()) if len(names) > 1 else 1.0
    return balance * (_SHARE_WEIGHT * float(shares.sum()) + (1 - _SHARE_WEIGHT) * nearness)
