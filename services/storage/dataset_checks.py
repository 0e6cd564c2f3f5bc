"""Whether labelled data is sound: rows and image files in, a dataset ready to be stored out, or all its faults.

Owns what is wrong with a dataset as a whole; one row alone is `dataset_rows`' to judge, one image
`services.judging.dataset_images`'. The one rule: every fault is told at once, at the row that has it.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol, TypeAlias

from services.judging.dataset_images import CheckedImage, InvalidImageError, check_image
from services.storage.dataset_rows import Faults, read_rows
from shared_schemas.datasets import MAX_ROWS, DatasetRow, UploadedRow
from shared_schemas.rubrics import Task, json_digest

DIGEST_FORMAT = "labelled-rows-1"
"""Part of every dataset's digest: change it when what is digested changes."""


class ImageFile(Protocol):
    """An image file that lies somewhere."""

    @property
    def digest(self) -> str:
        """`sha256:…` of its bytes."""

    @property
    def num_bytes(self) -> int:
        """Its size."""

    def read(self) -> bytes:
        """All of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetLimits:
    """What is too much."""

    max_rows: int = MAX_ROWS
    max_prompt_chars: int = 8000
    max_image_pixels: int = 16_000_000
    max_image_side: int = 8192
    num_threads: int = min(4, os.cpu_count() or 1)
    """How many images are decoded at a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SoundImage:
    """An image file that can be judged."""

    file: ImageFile
    checked: CheckedImage


@dataclass(frozen=True, kw_only=True, slots=True)
class SoundDataset:
    """A dataset in which nothing is wrong."""

    digest: str
    """Content address of the rows in any order; images count by the digests of their files."""
    task: Task
    rows: tuple[DatasetRow, ...]
    """In the order in which they were sent."""
    images: Mapping[str, SoundImage]
    """By digest, each that some row shows."""


_Found: TypeAlias = Mapping[str, ImageFile | None]
"""The file of each name in the rows; none where it was not sent."""


def check_dataset(pairs: bytes, files: Mapping[str, ImageFile], *, limits: DatasetLimits) -> SoundDataset:
    """Check everything that can be wrong. `pairs` is JSON Lines or a JSON array, `files` are image files by name.

    Reads and decodes each image that a row names, one at a time per thread. Raises `InvalidDatasetError`.
    """
    faults = Faults()
    rows = read_rows(pairs, faults, max_rows=limits.max_rows)
    found = {name: _find(files, name) for row in rows.values() for name in _names(row)}
    if not faults.num_faults:  # which images a row names that cannot be read is not known
        _refuse_unused(files, found, faults)
    _check_texts(rows, faults, limits=limits)
    task = _check_task(rows, faults)
    images = _check_images(rows, found, faults, limits=limits)
    faults.raise_if_any()
    kept = tuple(_kept(row, found) for row in rows.values())
    return SoundDataset(digest=dataset_digest(kept), task=task, rows=kept, images=images)


def dataset_digest(rows: Sequence[DatasetRow]) -> str:
    """Content address of rows in any order."""
    return json_digest([DIGEST_FORMAT, sorted(row.digest for row in rows)])


def _find(files: Mapping[str, ImageFile], name: str) -> ImageFile | None:
    """`./images/a.png` is `images/a.png`, too."""
    return files.get(name) or files.get(str(PurePosixPath(name)))


def _names(row: UploadedRow) -> Iterator[str]:
    yield from row.images
    if row.source is not None:
        yield row.source


def _refuse_unused(files: Mapping[str, ImageFile], found: _Found, faults: Faults) -> None:
    named = {str(PurePosixPath(name)) for name in found} | found.keys()
    for name in files:
        if name not in named:
            faults.add(name, "no row names this image")


def _check_texts(rows: Mapping[int, UploadedRow], faults: Faults, *, limits: DatasetLimits) -> None:
    num_rows_by_id = Counter(row.id for row in rows.values() if row.id is not None)
    for index, row in rows.items():
        if len(row.prompt) > limits.max_prompt_chars:
            message = f"has {len(row.prompt)} characters; at most {limits.max_prompt_chars} are read"
            faults.add("prompt", message, row=index)
        if row.id is not None and num_rows_by_id[row.id] > 1:
            faults.add("id", "another row has the same", row=index)


def _check_task(rows: Mapping[int, UploadedRow], faults: Faults) -> Task:
    """What the rows are about: the greater half is right, and the others are told so."""
    num_edits = sum(row.source is not None for row in rows.values())
    task = Task.EDIT if 2 * num_edits > len(rows) else Task.T2I
    for index, row in rows.items():
        if task is Task.EDIT and row.source is None:
            faults.add("source", f"is missing; {num_edits} of {len(rows)} rows have one, so all need one", row=index)
        if task is Task.T2I and row.source is not None:
            others = len(rows) - num_edits
            faults.add("source", f"is one too many; {others} of {len(rows)} rows have none, so none may", row=index)
    return task


def _check_images(
    rows: Mapping[int, UploadedRow], found: _Found, faults: Faults, *, limits: DatasetLimits
) -> dict[str, SoundImage]:
    """The images by digest; what is wrong is noted at every row that shows it."""
    files = {file.digest: file for file in found.values() if file is not None}
    images: dict[str, SoundImage] = {}
    refusals: dict[str, str] = {}
    with ThreadPoolExecutor(limits.num_threads) as threads:
        results = threads.map(lambda file: _decode(file, limits=limits), files.values())
        for file, result in zip(files.values(), results, strict=True):
            if isinstance(result, InvalidImageError):
                refusals[file.digest] = str(result)
            else:
                images[file.digest] = SoundImage(file=file, checked=result)
    for index, row in rows.items():
        _check_images_of(row, index, found, refusals, faults)
    return images


def _decode(file: ImageFile, *, limits: DatasetLimits) -> CheckedImage | InvalidImageError:
    try:
        return check_image(file.read(), max_pixels=limits.max_image_pixels, max_side=limits.max_image_side)
    except InvalidImageError as error:
        return error


def _check_images_of(row: UploadedRow, index: int, found: _Found, refusals: Mapping[str, str], faults: Faults) -> None:
    candidates = {f"images.{place}": name for place, name in enumerate(row.images)}
    shown_at: dict[str, str] = {}
    source = {} if row.source is None else {"source": row.source}
    for where, name in (candidates | source).items():
        file = found[name]
        if file is None:
            faults.add(where, f"there is no image {name[:200]!r}", row=index)
        elif file.digest in refusals:
            faults.add(where, f"{name[:200]!r} cannot be judged: {refusals[file.digest]}", row=index)
        elif where in candidates and (other := shown_at.setdefault(file.digest, where)) != where:
            faults.add(where, f"is the same file as {other}", row=index)


def _kept(row: UploadedRow, found: _Found) -> DatasetRow:
    digests = {name: file.digest for name in _names(row) if (file := found[name]) is not None}
    return DatasetRow(
        id=row.id,
        prompt=row.prompt,
        images=tuple(digests[name] for name in row.images),
        rank=row.places,
        score=row.score,
        source=None if row.source is None else digests[row.source],
    )
