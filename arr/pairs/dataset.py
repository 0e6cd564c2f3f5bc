"""A dataset on disk: which files belong to it, and its rows, one after the other.

The one rule: files are read in the order of their names, so that the same dataset gives the same rows in the same order
everywhere; sampling and its seed mean something only then.
"""

import hashlib
import heapq
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from arr.pairs.formats import mismatch
from arr.pairs.layout import Format, Record
from arr.pairs.records import SUFFIXES, DatasetError, first_keys, read_records
from arr.pairs.rows import Item, LabelledRow, Place

ALL_SPLITS = "all"

Tick = Callable[[int], None]
"""Told how many bytes of the whole dataset are read."""


def _ignore(_num_bytes: int) -> None:
    """Watch nothing."""


def _tick_after(tick: Tick, num_before: int, position: int) -> None:
    tick(num_before + position)


@dataclass(frozen=True, kw_only=True, slots=True)
class DataFile:
    """One annotation file."""

    path: Path
    root: Path
    """The folder that the user named, or that holds the file that was named."""
    name: str
    """The path below `root`."""
    split: str | None
    num_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PairsDataset:
    """Annotation files of one format; nothing is read until rows are asked for."""

    format: Format
    files: tuple[DataFile, ...]
    seed: int

    @property
    def num_bytes(self) -> int:
        """Size of all files."""
        return sum(file.num_bytes for file in self.files)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that the files belong to, sorted."""
        return tuple(sorted({file.split for file in self.files if file.split is not None}))

    def items(self, *, tick: Tick = _ignore) -> Iterator[Item]:
        """Every row, and every record that makes none. Raises `DatasetError` for a damaged file."""
        if not self.format.grouped:
            yield from self.format.rows(self._records(tick), self.seed)
            return
        rows = list(self.format.rows(self._records(_ignore), self.seed))
        for number, row in enumerate(rows, start=1):
            tick(self.num_bytes * number // len(rows))
            yield row

    def sampled_items(self, num: int, *, choosing: Tick = _ignore, tick: Tick = _ignore) -> Iterator[Item]:
        """`num` rows chosen by the seed, in their order, and every record that makes none.

        Reads the files twice; `choosing` watches the first time. The rows with the smallest hashes of (seed, number)
        are chosen: more rows with the same seed hold the fewer.
        """
        usable = (number for number, item in enumerate(self.items(tick=choosing)) if isinstance(item, LabelledRow))
        chosen = set(heapq.nsmallest(num, usable, key=self._draw))
        for number, item in enumerate(self.items(tick=tick)):
            if number in chosen or not isinstance(item, LabelledRow):
                yield item

    def _draw(self, number: int) -> bytes:
        return hashlib.sha256(f"{self.seed} {number}".encode()).digest()

    def _records(self, tick: Tick) -> Iterator[Record]:
        num_before = 0
        for file in self.files:
            read_here = partial(_tick_after, tick, num_before)
            for number, found in enumerate(read_records(file.path, keys=self.format.keys, tick=read_here), start=1):
                yield Record(Place(file=file.name, number=number, split=file.split), found)
            num_before += file.num_bytes


def open_dataset(path: Path, wanted: Format, *, split: str | None, seed: int, one_split: bool = False) -> PairsDataset:
    """The annotation files of format `wanted` at `path`, a file or a folder, that belong to `split` (none = any).

    Raises `DatasetError` where there are none, where the split does not exist, where `one_split` is asked for and there
    are several to choose from, and where the first file is of another format.
    """
    files = _files_in(path, wanted) if path.is_dir() else (_data_file(path, path.parent, _split_of(path, wanted)),)
    if not files:
        raise DatasetError(f"{path} has no files of the format {wanted.name}; name one, or see `arr pairs formats`")
    splits = sorted({file.split for file in files if file.split is not None})
    if split not in (None, ALL_SPLITS):
        files = tuple(file for file in files if file.split == split)
        if not files:
            raise DatasetError(f"{path} has no split {split!r}; it has {', '.join(splits) or 'none'}")
    elif split is None and one_split and len(splits) > 1:
        raise DatasetError(f"{path} has the splits {', '.join(splits)}: choose one, or all of them (--split all)")
    _check_format(files[0], wanted)
    return PairsDataset(format=wanted, files=files, seed=seed)


def _files_in(folder: Path, wanted: Format) -> tuple[DataFile, ...]:
    found = []
    for path in sorted(_ending_in(SUFFIXES, folder)):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and (match := wanted.files.search(f"{folder.name}/{name}")):
            found.append(_data_file(path, folder, match["split"]))
    return tuple(found)


def _ending_in(suffixes: tuple[str, ...], folder: Path) -> Iterator[Path]:
    """Holds the names of one folder at a time: there may be a million images (`rglob` would hold them all)."""
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names if name.endswith(suffixes))


def _split_of(path: Path, wanted: Format) -> str | None:
    match = wanted.files.search(path.absolute().as_posix())
    return match["split"] if match else None


def _data_file(path: Path, root: Path, split: str | None) -> DataFile:
    if path.suffix not in SUFFIXES:
        raise DatasetError(f"{path}: annotation files end in {', '.join(SUFFIXES)}")
    name = path.relative_to(root).as_posix()
    return DataFile(path=path, root=root, name=name, split=split, num_bytes=path.stat().st_size)


def _check_format(file: DataFile, wanted: Format) -> None:
    keys = first_keys(file.path)
    if not wanted.fits(keys):
        raise DatasetError(mismatch(wanted, keys, file=file.name))
