"""The rows that a command wants, with their images, while somebody watches."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from arr.pairs.dataset import PairsDataset, Tick
from arr.pairs.pictures import IllustratedRow, PictureReader
from arr.pairs.rows import Item, LabelledRow, Reason, RowError, UnusableRow


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which rows; all of them unless one of the two is given."""

    limit: int | None = None
    """The first so many that can be used."""
    sample: int | None = None
    """So many, chosen by the seed."""


def read_rows(
    dataset: PairsDataset, wanted: Wanted, *, images: Path | None, choosing: Tick, tick: Tick
) -> Iterator[IllustratedRow | UnusableRow]:
    """Rows with their images, and what could not be used on the way. One row is in memory at a time.

    `images` is the folder that paths are relative to; none = the folders of the annotation files, and what holds them
    all. Raises `DatasetError` for a damaged file.
    """
    if wanted.sample is None:
        items = dataset.items(tick=tick)
    else:
        items = dataset.sampled_items(wanted.sample, choosing=choosing, tick=tick)
    rows = _illustrated(items, PictureReader([images] if images else _folders(dataset)))
    return rows if wanted.limit is None else _up_to(wanted.limit, rows)


def _folders(dataset: PairsDataset) -> Iterable[Path]:
    for file in dataset.files:
        yield file.root
        yield file.path.parent


def _illustrated(items: Iterable[Item], reader: PictureReader) -> Iterator[IllustratedRow | UnusableRow]:
    ids: set[str] = set()
    for item in items:
        if isinstance(item, LabelledRow):
            try:
                _note_id(item, ids)
                yield reader.illustrate(item)
            except RowError as error:
                yield UnusableRow(place=item.place, reason=error.reason, detail=error.detail)
        else:
            yield item


def _note_id(row: LabelledRow, ids: set[str]) -> None:
    if row.id is not None:
        if row.id in ids:
            raise RowError(Reason.REPEATED_ID, f"an earlier row has the id {row.id!r}")
        ids.add(row.id)


def _up_to(limit: int, rows: Iterator[IllustratedRow | UnusableRow]) -> Iterator[IllustratedRow | UnusableRow]:
    num_usable = 0
    for row in rows:
        yield row
        num_usable += isinstance(row, IllustratedRow)
        if num_usable == limit:
            return
