"""EditReward-Bench: Parquet with an instruction, the source and two edits, compared as `A>B`, `B>A` or `A=B`.

Rows of 3-way and 4-way comparisons name other letters (`A>C`, `C>B`): the earlier letter is `candidate_1`.
"""

import re

from arr.pairs.layout import Format, Picture, Prompt, Record, RecordModel, included, keys_of, one_row_each, parse
from arr.pairs.rows import LabelledRow, Reason, RowError

# `A=B=Good` and `A=B=Bad` say of a tie whether both edits are good.
_RANKING = re.compile(r"\s*([A-Z])\s*([<>=]{1,2})\s*([A-Z])\s*(?:=\s*(?:Good|Bad)\s*)?")


class _Comparison(RecordModel):
    instruction: Prompt
    source_image: Picture | None
    candidate_1: Picture | None
    candidate_2: Picture | None
    ranking: str | None


def _read(record: Record, _seed: int) -> LabelledRow:
    comparison = parse(record, _Comparison)
    return LabelledRow(
        place=record.place,
        prompt=comparison.instruction,
        images=(
            included(comparison.candidate_1, what="candidate_1"),
            included(comparison.candidate_2, what="candidate_2"),
        ),
        rank=_rank(comparison.ranking),
        source=included(comparison.source_image, what="source_image"),
    )


def _rank(ranking: str | None) -> tuple[int, int]:
    match = None if ranking is None else _RANKING.fullmatch(ranking)
    if match is None or match[1] == match[3] or match[2] not in (">", "<", "=", "=="):
        raise RowError(Reason.NO_LABEL, f"ranking is {ranking!r}, not one like A>B, B>A or A=B")
    if match[2] in ("=", "=="):
        return 1, 1
    winner, loser = (match[1], match[3]) if match[2] == ">" else (match[3], match[1])
    return (1, 2) if winner < loser else (2, 1)


EDITREWARD = Format(
    name="editreward",
    summary="EditReward-Bench: Parquet with instruction, source_image, candidate_1, candidate_2, ranking (A>B)",
    files=re.compile(r"(?:^|/)(?P<split>[234]pair)/[^/]+\.parquet$"),
    keys=keys_of(_Comparison),
    tell_tale=(frozenset({"instruction", "source_image", "candidate_1", "candidate_2", "ranking"}),),
    rows=one_row_each(_read),
)
