"""Labelled pairs as jobs work with them: what is shown, and apart from it what people said.

Owns the way from a dataset's row to pairs. The one rule: what goes to a judge is an `ImagePair`, which has no label, so
that no question can give the answer away.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, TypeAlias

from shared_schemas.datasets import DatasetRow

Label: TypeAlias = Literal[-1, 0, 1]
"""1 = people prefer the first image, −1 = the second, 0 = neither."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImagePair:
    """Two images for one prompt; images are digests of the dataset's files."""

    prompt: str
    first: str
    second: str
    source: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledPair:
    """A pair, and which of its images people prefer."""

    pair: ImagePair
    label: Label
    row: str
    """Digest of the row it comes from: pairs of one row are not independent, nor are those of one prompt."""


def pairs_of_row(row: DatasetRow) -> Iterator[LabelledPair]:
    """All pairs of a row's images: one for two images, K(K − 1)/2 for K, none for one that is scored alone."""
    for first, second in combinations(range(len(row.images)), 2):
        difference = row.rank[second] - row.rank[first]
        yield LabelledPair(
            pair=ImagePair(prompt=row.prompt, first=row.images[first], second=row.images[second], source=row.source),
            label=1 if difference > 0 else -1 if difference < 0 else 0,
            row=row.digest,
        )


def pairs_of(rows: Iterable[DatasetRow]) -> tuple[LabelledPair, ...]:
    """The pairs of all rows, in their order."""
    return tuple(pair for row in rows for pair in pairs_of_row(row))
