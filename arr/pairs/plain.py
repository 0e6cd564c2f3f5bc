"""Rows in the service's own form, or with the reference implementation's names of the fields."""

import re
from itertools import product

from pydantic import ValidationError

from arr.pairs.layout import Format, Record, one_row_each
from arr.pairs.records import BadRecord
from arr.pairs.rows import LabelledRow, Reason, RowError
from shared_schemas.datasets import IMAGES_NAMES, PROMPT_NAMES, ROW_NAMES, UploadedRow
from shared_schemas.messages import in_one_line


def _read(record: Record, _seed: int) -> LabelledRow:
    if isinstance(record.values, BadRecord):
        raise RowError(Reason.MALFORMED, record.values.problem)
    try:
        row = UploadedRow.model_validate(record.values)
    except ValidationError as error:
        raise RowError(Reason.MALFORMED, in_one_line(error, whole="the row")) from error
    return LabelledRow(
        place=record.place,
        prompt=row.prompt,
        images=row.images,
        rank=row.places,
        score=row.score,
        source=row.source,
        id=row.id,
    )


PLAIN = Format(
    name="json",
    summary="JSON or JSON Lines rows: prompt, images[], rank[] or score[], source; or the reference's names for them",
    files=re.compile(r"(?:^|/)(?P<split>[^/]+)\.(?:json|jsonl|ndjson)$"),
    keys=frozenset(name for names in ROW_NAMES for name in names),
    tell_tale=tuple(frozenset(names) for names in product(PROMPT_NAMES, IMAGES_NAMES)),
    rows=one_row_each(_read),
)
