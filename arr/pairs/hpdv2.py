"""HPDv2: `train.json` with pairs and a preferred one, `test.json` with nine images and their ranks, 1 = best."""

import re

from pydantic import AliasChoices, Field

from arr.pairs.layout import Format, Picture, Prompt, Record, RecordModel, keys_of, one_row_each, parse
from arr.pairs.rows import LabelledRow, Reason, RowError, ranks_of


class _Comparison(RecordModel):
    prompt: Prompt
    images: tuple[Picture, ...] = Field(validation_alias=AliasChoices("file_path", "image_path"))
    human_preference: tuple[float, ...] | None = None
    """1 = preferred, 0 = not."""
    rank: tuple[float, ...] | None = None
    """Averaged over annotators; the smallest is the best."""


def _read(record: Record, _seed: int) -> LabelledRow:
    comparison = parse(record, _Comparison)
    if comparison.human_preference is not None:
        rank = ranks_of(comparison.human_preference, highest_is_best=True)
    elif comparison.rank is not None:
        rank = ranks_of(comparison.rank, highest_is_best=False)
    else:
        raise RowError(Reason.NO_LABEL, "neither human_preference nor rank")
    return LabelledRow(place=record.place, prompt=comparison.prompt, images=comparison.images, rank=rank)


HPDV2 = Format(
    name="hpdv2",
    summary="HPDv2: train.json with file_path[] and human_preference[], test.json with image_path[] and rank[]",
    files=re.compile(r"(?:^|/)(?P<split>train|test)\.jsonl?$"),
    keys=keys_of(_Comparison),
    tell_tale=(
        frozenset({"prompt", "file_path", "human_preference"}),
        frozenset({"prompt", "image_path", "raw_annotations"}),
    ),
    rows=one_row_each(_read),
)
