"""Pick-a-Pic (v1 and v2): Parquet with two JPEGs and a label for each; 0.5 and 0.5 is a tie."""

import re

from arr.pairs.layout import Format, Picture, Prompt, Record, RecordModel, included, keys_of, one_row_each, parse
from arr.pairs.rows import LabelledRow, Reason, RowError, ranks_of


class _Choice(RecordModel):
    caption: Prompt
    jpg_0: Picture | None
    jpg_1: Picture | None
    label_0: float | None
    label_1: float | None
    has_label: bool = True


def _read(record: Record, _seed: int) -> LabelledRow:
    choice = parse(record, _Choice)
    if not choice.has_label or choice.label_0 is None or choice.label_1 is None:
        raise RowError(Reason.NO_LABEL, "nobody chose between these two")
    return LabelledRow(
        place=record.place,
        prompt=choice.caption,
        images=(included(choice.jpg_0, what="jpg_0"), included(choice.jpg_1, what="jpg_1")),
        rank=ranks_of((choice.label_0, choice.label_1), highest_is_best=True),
    )


PICKAPIC = Format(
    name="pickapic",
    summary="Pick-a-Pic v1, v2: Parquet with caption, jpg_0, jpg_1, label_0, label_1 (0.5 = tie)",
    files=re.compile(r"(?:^|/)(?P<split>[a-z_]+)-\d{5}-of-\d{5}[^/]*\.parquet$"),
    keys=keys_of(_Choice),
    tell_tale=(frozenset({"caption", "jpg_0", "jpg_1", "label_0", "label_1"}),),
    rows=one_row_each(_read),
)
