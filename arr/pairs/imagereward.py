"""ImageRewardDB: one record per image; those of one prompt, ranked 1 = best with ties, make a row.

Records of a prompt need not stand together, so paths and ranks of all of them are held until the end: about 300 bytes
an image, 20 MB for the whole dataset.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from arr.pairs.layout import Format, Prompt, Record, RecordModel, keys_of, parse
from arr.pairs.rows import Item, LabelledRow, Place, RowError, UnusableRow, checked, ranks_of


class _RankedImage(RecordModel):
    prompt_id: str
    prompt: Prompt
    image_path: str
    rank: float


@dataclass(slots=True)
class _Group:
    id: str
    place: Place
    prompt: str
    paths: list[str] = field(default_factory=list)
    ranks: list[float] = field(default_factory=list)

    def row(self) -> Item:
        try:
            rank = ranks_of(self.ranks, highest_is_best=False)
            return checked(
                LabelledRow(place=self.place, prompt=self.prompt, images=tuple(self.paths), rank=rank, id=self.id)
            )
        except RowError as error:
            return UnusableRow(place=self.place, reason=error.reason, detail=error.detail)


def _rows(records: Iterable[Record], _seed: int) -> Iterator[Item]:
    groups: dict[str, _Group] = {}
    for record in records:
        try:
            image = parse(record, _RankedImage)
        except RowError as error:
            yield UnusableRow(place=record.place, reason=error.reason, detail=error.detail)
            continue
        group = groups.setdefault(image.prompt_id, _Group(image.prompt_id, record.place, image.prompt))
        group.paths.append(image.image_path)
        group.ranks.append(image.rank)
    yield from (group.row() for group in groups.values())


IMAGEREWARD = Format(
    name="imagereward",
    summary="ImageRewardDB: records of prompt_id, prompt, image_path, rank, grouped by prompt_id",
    files=re.compile(r"(?:^|/)(?P<split>train|validation|test)_\d+/[^/]+\.json$"),
    keys=keys_of(_RankedImage),
    tell_tale=(frozenset({"prompt_id", "prompt", "image_path", "rank"}),),
    rows=_rows,
    grouped=True,
)
