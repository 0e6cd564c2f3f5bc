"""What every format makes of its records: a labelled row, or the reason why there is none.

The one rule: a record that cannot be used is data, counted and shown; it never ends the reading.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

PictureRef: TypeAlias = bytes | str
"""An image as a dataset has it: the file's content, or its path, relative to the images' folder."""


class Reason(StrEnum):
    """Why a record cannot be used."""

    MALFORMED = "malformed"
    """A field is missing or not what the format says."""
    NO_LABEL = "no-label"
    """Nobody said which image is better."""
    RANK_LENGTH = "rank-length"
    """Not as many labels as images."""
    ONE_IMAGE = "fewer-than-two-images"
    """There is nothing to compare."""
    SEVERAL_SOURCES = "several-source-images"
    """More than one image goes with the prompt; a row has one source at most."""
    NOT_ONE_IMAGE = "not-one-image-per-response"
    """A response has no image, or several."""
    NO_IMAGE = "image-not-included"
    """The place of an image is empty."""
    MISSING_FILE = "missing-file"
    """The image's file is not there."""
    UNREADABLE_IMAGE = "unreadable-image"
    """No PNG, JPEG or WebP, a damaged one, or one that the service would not take."""
    REPEATED_ID = "repeated-id"
    """An earlier row has the same id."""
    DUPLICATE_IMAGES = "duplicate-images"
    """One image stands in two places of the row."""


class RowError(Exception):
    """A record cannot be used."""

    def __init__(self, reason: Reason, detail: str) -> None:
        """`detail` is a sentence for people."""
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a record stands."""

    file: str
    """Path of its file, below what the user named."""
    number: int
    """Counted from 1; the first record of a group where several make a row."""
    split: str | None
    """The dataset's own split; none = the file belongs to none."""

    def __str__(self) -> str:
        """`test.json row 3`."""
        return f"{self.file} row {self.number}"


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledRow:
    """Images of one prompt and how people ranked them; the images are not read yet."""

    place: Place
    prompt: str
    images: tuple[PictureRef, ...]
    """At least two; one alone has a score."""
    rank: tuple[int, ...]
    """One per image: 1 + how many are better; equal ranks = a tie."""
    score: tuple[float, ...] | None = None
    """One per image, the greatest for the best, where the dataset has such."""
    source: PictureRef | None = None
    """The image that was edited."""
    id: str | None = None
    """What the dataset calls the row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UnusableRow:
    """A record that makes no row."""

    place: Place
    reason: Reason
    detail: str


Item: TypeAlias = LabelledRow | UnusableRow


def ranks_of(values: Sequence[float], *, highest_is_best: bool) -> tuple[int, ...]:
    """1 + how many values are better, for each; equal values share a rank. Raises `RowError` for a NaN."""
    if any(math.isnan(value) for value in values):
        raise RowError(Reason.NO_LABEL, "a label is not a number")
    if highest_is_best:
        values = [-value for value in values]
    return tuple(1 + sum(other < value for other in values) for value in values)


def checked(row: LabelledRow) -> LabelledRow:
    """The row itself. Raises `RowError` unless every image has a rank and there are two, or one with a score."""
    if len(row.images) != len(row.rank):
        raise RowError(Reason.RANK_LENGTH, f"{len(row.rank)} labels for {len(row.images)} images")
    if len(row.images) < 2 and row.score is None:
        raise RowError(Reason.ONE_IMAGE, f"{len(row.images)} image: nothing to compare")
    return row
