"""HPDv3: `train.json`, `test.json`, pairs whose first image is always the preferred one.

The one rule: the sides are shuffled by a hash of the seed and the pair, so that position carries no label and a pair
keeps its sides whatever part of the dataset is read.
"""

import hashlib
import re

from arr.pairs.layout import Format, Picture, Prompt, Record, RecordModel, keys_of, one_row_each, parse
from arr.pairs.rows import LabelledRow, Reason, RowError


class _Pair(RecordModel):
    prompt: Prompt
    path1: Picture
    path2: Picture
    path_src: str | None = None
    """The picture that was edited; HPDv3 has none, but datasets of edits have come in its layout."""


def preferred_goes_first(*parts: str, seed: int) -> bool:
    """A fair coin that depends on nothing but its arguments."""
    return hashlib.sha256("\n".join((str(seed), *parts)).encode()).digest()[0] < 128


def _read(record: Record, seed: int) -> LabelledRow:
    pair = parse(record, _Pair)
    if pair.path_src is not None:
        raise RowError(Reason.MALFORMED, "has path_src: an edit; write rows with a source and read them as json")
    first = preferred_goes_first(pair.prompt, str(pair.path1), str(pair.path2), seed=seed)
    return LabelledRow(
        place=record.place,
        prompt=pair.prompt,
        images=(pair.path1, pair.path2) if first else (pair.path2, pair.path1),
        rank=(1, 2) if first else (2, 1),
    )


HPDV3 = Format(
    name="hpdv3",
    summary="HPDv3 (and HPDv3++): train.json, test.json with prompt, path1 (the preferred image), path2",
    files=re.compile(r"(?:^|/)(?P<split>(?:train|test)\w*)\.jsonl?$"),
    keys=keys_of(_Pair),
    tell_tale=(frozenset({"prompt", "path1", "path2"}),),
    rows=one_row_each(_read),
)
