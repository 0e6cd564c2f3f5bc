"""What an edit changed against its source: where, how much, and whether that is where it was asked for.

Owns the comparison of two pictures of one scene. The changed region is found as a drawing is on its paper
(`foreground`), with the source in place of the paper.
"""

from dataclasses import replace

import numpy as np

from services.judging.pixel_judge.foreground import Foreground, stand_out
from services.judging.pixel_judge.picture import Array, Picture
from services.judging.pixel_judge.places import Place

_VISIBLE_CHANGE = 0.1
"""Mean absolute RGB difference of a pixel, 0 to 1, that counts as a full change."""

_CERTAIN_EDIT = 0.02
"""Share of fully changed pixels from which on an edit has certainly happened."""


def changed_region(picture: Picture, source: Picture) -> Foreground | None:
    """What looks different at the working size of the source; None when nothing does."""
    region = stand_out(np.sqrt(((_fitted(picture, source).small - source.small) ** 2).sum(axis=2)))
    if region is None:
        return None
    # How different it looks depends on what stood there before; inside its rim, it is there all the same.
    return replace(region, coverage=np.where(region.interior, 1, region.coverage))


def preservation(picture: Picture, source: Picture, place: Place | None) -> float:
    """Share of the source's pixels outside `place` that an edit left alone; partly changed pixels count partly.

    Where no place is named, nobody can tell what was to change: then all pixels count.
    """
    change = _change(picture, source)
    rest = change[np.ones_like(change, dtype=np.bool_) if place is None else ~place.mask(change.shape)]
    return 1 - float(rest.mean()) if rest.size else 1.0


def fulfilment(picture: Picture, source: Picture, region: Foreground | None, place: Place | None) -> float:
    """Whether anything changed, and where it was asked for: 1 when 2 % of the pixels did, and all of it in `place`."""
    happened = min(1.0, float(_change(picture, source).mean()) / _CERTAIN_EDIT)
    if place is None or region is None:
        return happened
    inside = float(region.coverage[place.mask(region.coverage.shape)].sum() / region.coverage.sum())
    return happened * inside


def _change(picture: Picture, source: Picture) -> Array:
    """How much each source pixel changed, 0 to 1: [H, W]."""
    difference = np.abs(_fitted(picture, source).rgb - source.rgb).mean(axis=2)
    change: Array = np.clip(difference / _VISIBLE_CHANGE, 0, 1)
    return change


def _fitted(picture: Picture, source: Picture) -> Picture:
    """An edit of another size is scaled to the source's."""
    is_fitting = picture.image.size == source.image.size
    return picture if is_fitting else Picture(picture.image.resize(source.image.size))
