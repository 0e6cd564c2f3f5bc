"""Words for places in a picture, and the part of it that they name.

Owns corners, halves and the middle, in English. "right" and "left" alone name no place: "do it right", "what is left".
"""

import re
from dataclasses import dataclass

import numpy as np

from services.judging.pixel_judge.picture import Mask

_ROWS = {"upper": (0.0, 0.5), "top": (0.0, 0.5), "lower": (0.5, 1.0), "bottom": (0.5, 1.0)}
_COLUMNS = {"left": (0.0, 0.5), "right": (0.5, 1.0)}
_ALL, _MIDDLE = (0.0, 1.0), (0.25, 0.75)

_PART = re.compile(
    r"\b(?:(?P<row>upper|top|lower|bottom)(?:[ -]|\b))?(?:(?P<column>left|right)[ -])?(?:hand )?"
    r"(?:corner|half|side|part|quarter)\b"
    r"|\b(?:at|on|in) the (?:(?P<at_row>upper|top|lower|bottom)\b[ -]?)?(?P<at_column>left|right)?\b",
    re.IGNORECASE,
)
_IN_THE_MIDDLE = re.compile(r"\b(cent(re|er)|middle)\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A rectangle, in fractions of the picture's height and width."""

    rows: tuple[float, float]
    columns: tuple[float, float]

    def mask(self, shape: tuple[int, ...]) -> Mask:
        """Pixels of a picture [H, W] whose centres lie inside."""
        height, width = shape
        (top, bottom), (left, right) = self.rows, self.columns
        y, x = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
        return ((y >= top) & (y < bottom))[:, np.newaxis] & ((x >= left) & (x < right))


def place_named(prompt: str) -> Place | None:
    """The place that the prompt names first, if any."""
    for match in _PART.finditer(prompt):
        row = (match["row"] or match["at_row"] or "").lower()
        column = (match["column"] or match["at_column"] or "").lower()
        if row or column:
            return Place(rows=_ROWS.get(row, _ALL), columns=_COLUMNS.get(column, _ALL))
    return Place(rows=_MIDDLE, columns=_MIDDLE) if _IN_THE_MIDDLE.search(prompt) else None
