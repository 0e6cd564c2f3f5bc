"""How the pixel judge puts what it sees into words: themes, statements and reasons for every property.

Owns the types and the families that properties are grouped into; the words are in `english_phrases` and
`chinese_phrases`.

The one rule: a phrase names its own property and no other (`vocabulary`), so that it means to a judge what its author
saw.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from services.judging.pixel_judge.properties import Property


@dataclass(frozen=True, kw_only=True, slots=True)
class Phrases:
    """What can be said about one property."""

    themes: tuple[str, ...]
    """One per statement; the first is the name of a theme about this property alone."""
    statements: tuple[str, ...]
    """Each can be checked on one image."""
    merit: str
    """What the better image has or does; fills in the `because` of `Tongue`."""


class Family(StrEnum):
    """Kinds of properties, from coarse to fine."""

    OTHER = "other"
    """Statements that name no property."""
    REQUEST = "request"
    SOURCE = "source"
    COMPOSITION = "composition"
    TONE = "tone"
    DETAIL = "detail"


FAMILIES = {
    Family.REQUEST: (Property.EDITED, Property.COUNT, Property.SHAPE, Property.COLOUR),
    Family.SOURCE: (Property.PRESERVATION,),
    Family.COMPOSITION: (Property.BACKGROUND, Property.UNIFORM),
    Family.TONE: (Property.BRIGHTNESS, Property.CONTRAST, Property.COLOURFULNESS),
    Family.DETAIL: (Property.SHARPNESS, Property.NOISE),
}
"""Families in order, and their properties in order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tongue:
    """Everything that can be said in one language."""

    phrases: Mapping[Property, Phrases]
    families: Mapping[Family, str]
    """Names of themes that hold more than one property."""
    because: str
    """A reason: `{merits}`."""
    conjunction: str
    """Between merits."""
    no_reason: str
