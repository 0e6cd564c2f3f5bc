"""Shape words and how well a foreground has that shape.

Owns circle, square and triangle (pointing up or down), each fitted to the foreground by area, centroid and spread, so
that a pixel more or less moves the score a little and never makes it jump.
"""

import re
from enum import StrEnum

import numpy as np

from services.judging.pixel_judge.picture import Array


class Shape(StrEnum):
    """The shapes that are known."""

    CIRCLE = "circle"
    SQUARE = "square"
    TRIANGLE = "triangle"


_WORDS = {
    Shape.CIRCLE: r"circles?|circular|discs?|disks?|round|dots?|balls?",
    Shape.SQUARE: r"squares?|box(es)?",
    Shape.TRIANGLE: r"triangles?|triangular",
}

_POOR_OVERLAP, _FULL_OVERLAP = 0.65, 0.955
"""IoU of a shapeless blob with a fitted shape, and of a clean drawing blurred by a decoder."""

_CLEAR_MARGIN = 0.12
"""IoU by which a clean shape beats the other two: 0.13 for circle and square, more for triangles."""


def shape_word(prompt: str) -> Shape | None:
    """The shape named first in the prompt, if any."""
    found = {shape: re.search(rf"\b({words})\b", prompt, re.IGNORECASE) for shape, words in _WORDS.items()}
    starts = {shape: match.start() for shape, match in found.items() if match}
    return min(starts, key=lambda shape: starts[shape]) if starts else None


def shape_match(coverage: Array, shape: Shape) -> float:
    """How much a coverage map [h, w] looks like the shape, 0 to 1.

    Half for the overlap with the fitted ideal (IoU), half for the lead over the other shapes.
    """
    overlaps = fitted_overlaps(coverage)
    rival = max(overlap for other, overlap in overlaps.items() if other is not shape)
    quality = (overlaps[shape] - _POOR_OVERLAP) / (_FULL_OVERLAP - _POOR_OVERLAP)
    lead = 0.5 + 0.5 * (overlaps[shape] - rival) / _CLEAR_MARGIN
    return 0.5 * min(1.0, max(0.0, quality)) + 0.5 * min(1.0, max(0.0, lead))


def fitted_overlaps(coverage: Array) -> dict[Shape, float]:
    """IoU of the coverage with each ideal shape of the same area and centroid, 0 to 1."""
    height, width = coverage.shape
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    area = float(coverage.sum())
    x = columns - float((coverage * columns).sum()) / area
    y = rows - float((coverage * rows).sum()) / area
    # A pixel is itself a square with a variance of 1/12 each way, so a single row has a height.
    spread = float(np.sqrt((coverage * (x**2 + 1 / 12)).sum() / (coverage * (y**2 + 1 / 12)).sum()))
    triangles = (_triangle(x, y, area, spread), _triangle(x, -y, area, spread))
    return {
        Shape.CIRCLE: _iou(coverage, _soft(np.sqrt(area / np.pi) - np.hypot(x, y))),
        Shape.SQUARE: _iou(coverage, _soft(np.sqrt(area) / 2 - np.abs(x)) * _soft(np.sqrt(area) / 2 - np.abs(y))),
        Shape.TRIANGLE: max(_iou(coverage, triangle) for triangle in triangles),
    }


def _triangle(x: Array, y: Array, area: float, spread: float) -> Array:
    """An isosceles triangle pointing up: σ_x/σ_y = (w/√24)/(h/√18) gives w/h, the area w·h/2 gives the size."""
    ratio = float(np.clip(spread * np.sqrt(24 / 18), 0.6, 2.0))
    height = float(np.sqrt(2 * area / ratio))
    half_width = ratio * height / 2
    above_base = height / 3 - y
    slope = height / half_width
    inside_sides = (2 * height / 3 + y - slope * np.abs(x)) / np.sqrt(1 + slope**2)
    return _soft(np.minimum(above_base, inside_sides))


def _soft(signed_distance: Array) -> Array:
    """Coverage of a pixel from its centre's distance inside an edge."""
    coverage: Array = np.clip(signed_distance + 0.5, 0, 1)
    return coverage


def _iou(a: Array, b: Array) -> float:
    return float(np.minimum(a, b).sum() / np.maximum(a, b).sum())
