"""Drawings that went wrong: what an image generator draws when it only nearly knows how.

Owns the kinds of flaw, the negative class of the ground truth; correct drawings are `shapes`.

The one rule: every flaw is visible. A flaw too faint to see would teach that clean drawings are flawed.
"""

import math
from enum import StrEnum

import numpy as np

from arr.demo.shapes import (
    RESOLUTION,
    Colour,
    Drawing,
    Field,
    Pixels,
    Placement,
    Polygon,
    Shape,
    coverage,
    flat,
    outline,
    paint,
    to_pixels,
)


class Flaw(StrEnum):
    """How a drawing can fail to be one flat, filled shape in one colour."""

    MOTTLED = "mottled"
    TWO_COLOURS = "two colours"
    BETWEEN_COLOURS = "between two colours"
    BLENDED = "blended shapes"
    DISTORTED = "distorted outline"
    MISSING = "missing shape"
    NOISY = "noise"
    GLOSSY = "glossy spot"
    CONCAVE = "concave triangle"


def render_flawed(drawing: Drawing, flaw: Flaw, rng: np.random.Generator) -> Pixels:
    """Draw the caption with one flaw, at a random place and size: uint8 [32, 32, 3].

    `CONCAVE` always bends a triangle and `MISSING` draws none, whatever shape the caption says.
    """
    at = Placement.random(rng)
    mask = coverage(outline(drawing.shape, at))
    fill = flat(drawing.colour)
    match flaw:
        case Flaw.MOTTLED:
            return paint(mask, fill + 255 * rng.uniform(0.1, 0.3) * _clouds(rng))
        case Flaw.TWO_COLOURS:
            return paint(mask, _two_colours(drawing.colour, at, rng))
        case Flaw.BETWEEN_COLOURS:
            share = rng.uniform(0.35, 0.5)
            return paint(mask, (1 - share) * fill + share * _other_colour(drawing.colour, rng))
        case Flaw.BLENDED:
            return paint(coverage(_blend(drawing.shape, at, rng)), fill)
        case Flaw.DISTORTED:
            return paint(coverage(_distorted(drawing.shape, at, rng)), fill)
        case Flaw.MISSING:
            return paint(rng.uniform(0.0, 0.35) * np.maximum(_clouds(rng)[:, :, 0], 0) * mask, fill)
        case Flaw.NOISY:
            noise = rng.normal(0, rng.uniform(20, 60), size=(RESOLUTION, RESOLUTION, 3))
            return to_pixels(paint(mask, fill) + noise)
        case Flaw.GLOSSY:
            return paint(mask, fill + _spot(at, rng)[:, :, np.newaxis] * (255 - fill))
        case Flaw.CONCAVE:
            return paint(coverage(_bent_triangle(at, rng)), fill)


def _grid() -> tuple[Field, Field]:
    """The x and y of every pixel centre, [32, 32] each."""
    centres = np.arange(RESOLUTION) + 0.5
    x, y = np.meshgrid(centres, centres)
    return x, y


def _clouds(rng: np.random.Generator) -> Field:
    """Smooth random patches about 5 pixels wide, [32, 32, 3], mean 0, standard deviation 1."""
    x, y = _grid()
    field: Field = np.zeros((RESOLUTION, RESOLUTION, 3))
    for _ in range(12):
        angle, phase = rng.uniform(0, 2 * math.pi, size=2)
        wavelength = rng.uniform(6, 16)
        wave = np.sin(2 * math.pi * (x * math.cos(angle) + y * math.sin(angle)) / wavelength + phase)
        field += wave[:, :, np.newaxis] * rng.normal(size=3)
    field -= field.mean()
    field /= field.std()
    return field


def _other_colour(colour: Colour, rng: np.random.Generator) -> Field:
    others = [other for other in Colour if other is not colour]
    return flat(others[rng.integers(len(others))])


def _two_colours(colour: Colour, at: Placement, rng: np.random.Generator) -> Field:
    """A fill that changes from one colour to another across the shape, abruptly or gradually."""
    other = _other_colour(colour, rng)
    x, y = _grid()
    angle = rng.uniform(0, 2 * math.pi)
    distance = (x - at.x) * math.cos(angle) + (y - at.y) * math.sin(angle)
    softness = rng.uniform(0.5, at.radius / 2)
    share = 1 / (1 + np.exp(-(distance - rng.uniform(-0.4, 0.4) * at.radius) / softness))[:, :, np.newaxis]
    fill: Field = share * other + (1 - share) * flat(colour)
    return fill


def _spot(at: Placement, rng: np.random.Generator) -> Field:
    """A highlight inside the shape: how much white to mix in, [32, 32], 0 to 1."""
    x, y = _grid()
    dx, dy = rng.uniform(-0.35, 0.35, size=2) * at.radius
    width = rng.uniform(0.2, 0.5) * at.radius
    squared = (x - at.x - dx) ** 2 + (y - at.y - dy) ** 2
    highlight: Field = rng.uniform(0.45, 1.0) * np.exp(-squared / (2 * width**2))
    return highlight


def _blend(shape: Shape, at: Placement, rng: np.random.Generator) -> Polygon:
    """The outline about half-way between two shapes, by direction."""
    others = [other for other in Shape if other is not shape]
    other = others[rng.integers(len(others))]
    share = rng.uniform(0.35, 0.5)
    angles = _directions()
    reach = (1 - share) * _reach(shape, at, angles) + share * _reach(other, at, angles)
    return _around(at, reach)


def _distorted(shape: Shape, at: Placement, rng: np.random.Generator) -> Polygon:
    """The outline pulled out and in, in two or three waves around it."""
    phase = rng.uniform(0, 2 * math.pi)
    waves = 1 + rng.uniform(0.12, 0.28) * np.sin(rng.integers(2, 4) * _directions() + phase)
    return _around(at, waves * _reach(shape, at, _directions()))


def _directions() -> Field:
    """Ninety angles around the circle, in radians."""
    return np.linspace(0, 2 * math.pi, 90, endpoint=False)


def _around(at: Placement, reach: Field) -> Polygon:
    """The outline that lies this far from the centre in each of the directions."""
    return [(at.x + r * math.cos(a), at.y + r * math.sin(a)) for r, a in zip(reach, _directions(), strict=True)]


def _reach(shape: Shape, at: Placement, angles: Field) -> Field:
    """Distance from the placement's centre to the outline in each direction."""
    corners = np.asarray(outline(shape, at)) - (at.x, at.y)
    edges = np.roll(corners, -1, axis=0) - corners
    normals = np.stack([edges[:, 1], -edges[:, 0]], axis=1)
    offsets = (normals * corners).sum(axis=1)
    normals, offsets = normals * np.sign(offsets)[:, np.newaxis], np.abs(offsets)
    directions = np.stack([np.cos(angles), np.sin(angles)])
    facing = normals @ directions
    crossings = np.where(facing > 1e-9, offsets[:, np.newaxis] / np.maximum(facing, 1e-9), np.inf)
    nearest: Field = crossings.min(axis=0)
    return nearest


def _bent_triangle(at: Placement, rng: np.random.Generator) -> Polygon:
    """A triangle whose sides bend inwards by a visible amount."""
    corners = np.asarray(outline(Shape.TRIANGLE, at))
    centre = corners.mean(axis=0)
    bend = rng.uniform(0.25, 0.6)
    points: Polygon = []
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        for t in np.linspace(0, 1, 8, endpoint=False):
            x, y = start + t * (end - start) + 4 * t * (1 - t) * bend * (centre - (start + end) / 2)
            points.append((float(x), float(y)))
    return points
