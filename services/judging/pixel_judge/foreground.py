"""What stands out from the background: where it is, how sure, and in how many pieces.

Owns segmentation of one plain background, taken from the border; a photograph has no such background, and measures that
need one say little about it. An edited photograph has its source for one (`changes`).
"""

from dataclasses import dataclass

import numpy as np

from services.judging.pixel_judge.picture import Array, Mask, Picture

_VISIBLE_DISTANCE = 0.12
"""RGB distance from the background (0 to √3) below which there is no foreground at all."""

_NOISE_DISTANCE = 0.06
"""Distance that counts as background: a decoder's ripple."""

_PEAK_SHARE = 0.02
"""The strongest 2 % of pixels say how strong the foreground is; single noisy pixels do not."""

_FULL_SIZE_SHARE = 0.03
"""A foreground smaller than this share of the image counts for proportionally less: a speck is no drawing."""

_MIN_INTERIOR_SHARE = 0.2
_MIN_BLOB_SHARE = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Foreground:
    """The drawn thing, on the working size [h, w]."""

    coverage: Array
    """How much of each pixel it covers, 0 to 1; holes are filled, stray pixels are gone."""
    filled: Mask
    """Coverage above one half."""
    interior: Mask
    """`filled` without its blurred rim; holes belong to it, so that a glossy spot cannot hide by looking like paper."""
    size: float
    """0 to 1: 1 from 3 % of the image on."""


def find_foreground(picture: Picture) -> Foreground | None:
    """Separate what differs from the border's median colour; None when nothing does."""
    rgb = picture.small
    border = np.concatenate([rgb[0], rgb[-1], rgb[1:-1, 0], rgb[1:-1, -1]])
    return stand_out(np.sqrt(((rgb - np.median(border, axis=0)) ** 2).sum(axis=2)))


def stand_out(distance: Array) -> Foreground | None:
    """Separate what is far from what was expected; None when nothing is.

    `distance` [h, w] is in RGB, 0 to √3: from the colour of the paper, or from what stood there before an edit.
    """
    num_peak = max(4, round(_PEAK_SHARE * distance.size))
    peak = float(np.sort(distance, axis=None)[-num_peak:].mean())
    if peak < _VISIBLE_DISTANCE:
        return None
    typical = float(np.median(distance[distance >= peak / 2]))
    coverage = np.clip((distance - _NOISE_DISTANCE) / max(typical - _NOISE_DISTANCE, 1e-6), 0, 1)
    mask = _without_specks(coverage > 0.5)
    if not mask.any():
        return None
    filled = _fill_holes(mask)
    coverage = np.where(filled, np.where(mask, coverage, 1), coverage * _dilate(filled)).astype(np.float32)
    return Foreground(
        coverage=coverage,
        filled=filled,
        interior=_interior(filled),
        size=min(1.0, float(filled.mean()) / _FULL_SIZE_SHARE),
    )


def count_blobs(filled: Mask) -> int:
    """Connected pieces (4-neighbourhood) at least a tenth as large as the largest."""
    left, sizes = filled.copy(), []
    while left.any():
        blob = np.zeros_like(left)
        blob.flat[int(left.argmax())] = True
        size = 0
        while (grown := int(blob.sum())) != size:
            size = grown
            blob = _dilate(blob) & left
        sizes.append(size)
        left &= ~blob
    return sum(size >= _MIN_BLOB_SHARE * max(sizes) for size in sizes)


def _without_specks(mask: Mask) -> Mask:
    """Drop pixels with fewer than two set neighbours among eight; corners and tips have that many."""
    padded = np.pad(mask, 1).astype(np.uint8)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    with_itself = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    kept: Mask = mask & (with_itself >= 3)
    return kept


def _fill_holes(mask: Mask) -> Mask:
    """Set pixels that have the mask on all four sides."""
    left, right = np.logical_or.accumulate(mask, 1), np.logical_or.accumulate(mask[:, ::-1], 1)[:, ::-1]
    above, below = np.logical_or.accumulate(mask, 0), np.logical_or.accumulate(mask[::-1], 0)[::-1]
    return left & right & above & below


def _dilate(mask: Mask) -> Mask:
    grown = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    grown[:, 1:] |= mask[:, :-1]
    grown[:, :-1] |= mask[:, 1:]
    return grown


def _interior(filled: Mask) -> Mask:
    padded = np.pad(filled, 1)
    rows = padded[:-2] & padded[1:-1] & padded[2:]
    inner = rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:]
    return inner if inner.sum() >= _MIN_INTERIOR_SHARE * filled.sum() else filled
