"""From files to a dataset of the service: open, read and count, upload.

The one rule: what is wrong with the files ends the command with one line, after the rows that it is about.
"""

from pathlib import Path

from arr.connection import connected
from arr.console import ExitCode, fail, note
from arr.pairs.census import Census
from arr.pairs.dataset import PairsDataset, open_dataset
from arr.pairs.formats import FORMATS
from arr.pairs.packing import Package, new_package
from arr.pairs.progress import ReadingProgress, uploading
from arr.pairs.reading import Wanted, read_rows
from arr.pairs.records import DatasetError
from arr.pairs.report import MAX_LISTED, reasons_in_words, unusable_lines
from arr.pairs.rows import UnusableRow
from reward_client import RequestRejected
from shared_schemas.datasets import Dataset
from shared_schemas.problems import ProblemType


def open_pairs(path: Path, format_name: str, *, split: str | None, seed: int, one_split: bool = False) -> PairsDataset:
    """The dataset at `path`; see `open_dataset`."""
    if format_name not in FORMATS:
        fail(f"there is no format {format_name!r}; choose from {', '.join(FORMATS)} (--format)", code=ExitCode.USAGE)
    try:
        return open_dataset(path, FORMATS[format_name], split=split, seed=seed, one_split=one_split)
    except DatasetError as error:
        fail(str(error), code=ExitCode.USAGE)


def hand_over(
    dataset: PairsDataset, wanted: Wanted, *, path: Path, images: Path | None, strict: bool, url: str
) -> tuple[Dataset, Census]:
    """Upload the rows that are wanted and can be used; `strict` refuses to leave any out. `path` is what is named."""
    with connected(url) as client:
        next(client.datasets(), None)  # a service that is not there is told now, not after hours of reading
    with new_package() as package:
        census = read_pairs(dataset, wanted, images=images, package=package)
        _refuse(census, path=path, strict=strict)
        return _upload(package, url), census


def chosen_dataset(
    pairs: Path | None, dataset_id: int | None, *, format_name: str, images: Path | None, url: str
) -> int:
    """The id of the dataset that a command shall use: one that is named, or one made of the rows at `pairs`."""
    if dataset_id is not None and pairs is None:
        if images is not None:
            fail("--images belongs to --pairs; the service has the images of --dataset", code=ExitCode.USAGE)
        return dataset_id
    if pairs is None or dataset_id is not None:
        fail("say which labelled pairs: --pairs PATH uploads them, --dataset ID names a dataset", code=ExitCode.USAGE)
    dataset = open_pairs(pairs, format_name, split=None, seed=0)
    if len(dataset.splits) > 1:
        splits = ", ".join(dataset.splits)
        fail(f"{pairs} has the splits {splits}: name the file of one (--pairs), or import it with `arr pairs import`",
             code=ExitCode.USAGE)  # fmt: skip
    wanted = Wanted(limit=None, sample=None)
    uploaded, _ = hand_over(dataset, wanted, path=pairs, images=images, strict=False, url=url)
    note(f"dataset {uploaded.id}: {uploaded.num_rows:,} rows, {uploaded.num_images:,} images, task {uploaded.task}")
    return uploaded.id


def read_pairs(dataset: PairsDataset, wanted: Wanted, *, images: Path | None, package: Package | None = None) -> Census:
    """Count the rows that are wanted, and pack them."""
    census = Census()
    try:
        with ReadingProgress(num_bytes=dataset.num_bytes, limit=wanted.limit) as bar:
            for row in read_rows(dataset, wanted, images=images, choosing=bar.choosing, tick=bar.tick):
                bar.row()
                census.add(row)
                if package is not None and not isinstance(row, UnusableRow):
                    package.add(row)
    except DatasetError as error:
        fail(str(error))
    return census


def _refuse(census: Census, *, path: Path, strict: bool) -> None:
    """End the command where there is nothing to upload, or `strict` forbids what is left out; else say what that is."""
    for line in unusable_lines(census):
        note(line)
    if not census.num_rows:
        fail(f"{path} has no row that can be used" + (f": {reasons_in_words(census)}" if census.unusable else ""))
    if census.unusable and strict:
        fail(f"{len(census.unusable):,} rows cannot be used ({reasons_in_words(census)}); nothing was uploaded")
    if 0 < census.num_with_source < census.num_rows:
        fail(
            f"{census.num_with_source:,} of {census.num_rows:,} rows have a source image; a dataset is all edits or "
            "none: choose one of its splits"
        )
    if census.unusable:
        note(f"left out: {reasons_in_words(census)}")


def _upload(package: Package, url: str) -> Dataset:
    with connected(url) as client, uploading(num_images=len(package.images), num_bytes=package.num_bytes):
        try:
            return client.upload_dataset(package.rows, package.images)
        except RequestRejected as error:
            for fault in error.problem.errors[:MAX_LISTED]:
                note(f"{package.place_of(fault.where)}: {fault.message}")
            if error.problem.slug == ProblemType.BODY_TOO_LARGE:
                fail(f"{error}: take fewer rows (--limit, --sample), or start the service with ARR_MAX_DATASET_MB")
            raise
