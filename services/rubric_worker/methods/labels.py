"""What people said, as the method reads it: rows to learn from, and what of each can be put to a judge.

Owns which rows say anything in which mode. The one rule: what can be shown (`Shown`) has no label, and the names under
which draws are made (`LearningRow.key`) do not depend on it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from services.rubric_worker.labelled_pairs import ImagePair, pairs_of_row
from shared_schemas.datasets import DatasetRow
from shared_schemas.rubrics import Mode, json_digest

Sign: TypeAlias = Literal[-1, 1]
"""1 = people prefer the first image, or find an image that stands alone good; −1 = the other way round."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoneImage:
    """One image for one prompt; images are digests of the dataset's files."""

    prompt: str
    image: str
    source: str | None


Shown: TypeAlias = ImagePair | LoneImage


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """Something that people have an opinion on, and the opinion."""

    shown: Shown
    sign: Sign


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreRange:
    """The scores that people could give."""

    lowest: float
    highest: float

    @property
    def middle(self) -> float:
        """Half-way."""
        return (self.lowest + self.highest) / 2


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningRow:
    """A row with at least one opinion."""

    row: DatasetRow
    known: tuple[Known, ...]

    @property
    def key(self) -> str:
        """Names the row by what it shows."""
        row = self.row
        return json_digest([row.prompt, row.source, *row.images])

    @property
    def prompt(self) -> str:
        """What the images show, or the edit that was asked for."""
        return self.row.prompt


def score_range(rows: Iterable[DatasetRow], *, lowest: float | None, highest: float | None) -> ScoreRange | None:
    """As given, else as far as the scores of the data reach; none without scores."""
    scores = [score for row in rows for score in row.score or ()]
    if not scores:
        return None
    return ScoreRange(
        lowest=min(scores) if lowest is None else lowest, highest=max(scores) if highest is None else highest
    )


def learning_rows(rows: Iterable[DatasetRow], *, mode: Mode, scores: ScoreRange | None) -> tuple[LearningRow, ...]:
    """The rows that say something: pairs that are no ties and, pointwise, single images off the middle of the range."""
    found = (LearningRow(row=row, known=tuple(_known(row, mode=mode, scores=scores))) for row in rows)
    return tuple(sorted((row for row in found if row.known), key=lambda row: row.key))


def known_pairs(rows: Sequence[LearningRow]) -> tuple[Known, ...]:
    """All pairs of these rows; images that stand alone are left out."""
    return tuple(known for row in rows for known in row.known if isinstance(known.shown, ImagePair))


def _known(row: DatasetRow, *, mode: Mode, scores: ScoreRange | None) -> Iterator[Known]:
    for pair in pairs_of_row(row):
        if pair.label != 0:
            yield Known(shown=pair.pair, sign=pair.label)
    if mode is Mode.POINTWISE and len(row.images) == 1 and row.score is not None and scores is not None:
        above = row.score[0] - scores.middle
        if above != 0:
            lone = LoneImage(prompt=row.prompt, image=row.images[0], source=row.source)
            yield Known(shown=lone, sign=1 if above > 0 else -1)
