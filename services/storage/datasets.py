"""Datasets: rows and what is known about them in the database, image files in the blob store.

Owns what belongs to a dataset and who may see it; whether labelled data is sound was decided in `dataset_checks`.

The one rule: the rows come last and all at once. A dataset that can be seen has all its rows and all its images, and
one that could not be stored leaves nothing behind that another dataset does not need.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice

import stamina
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from services.judging.dataset_images import ImageFormat
from services.storage.blobs import BlobStore, dataset_blob
from services.storage.database import Database
from services.storage.dataset_checks import SoundDataset, SoundImage
from services.storage.tables import DatasetContentRow, DatasetImageRow, DatasetSummaryRow
from shared_schemas.datasets import Dataset, DatasetPage, DatasetRow, DatasetRowPage
from shared_schemas.rubrics import Task

_BATCH_BYTES = 16 << 20
"""So much of the images is in memory while they are written: a file system of a cloud takes several at a time."""

_ROWS_AT_ONCE = 500
"""In one statement: a few milliseconds, in which nothing else runs on the event loop."""

_log = logging.getLogger(__name__)


class DatasetRepository:
    """All datasets of one database and blob store."""

    def __init__(self, database: Database, blobs: BlobStore) -> None:
        self._database = database
        self._blobs = blobs

    async def add(self, dataset: SoundDataset, *, tenant: str) -> tuple[Dataset, bool]:
        """Store a dataset of `tenant`; returns it and whether it is new.

        One with the same rows, in whatever order, is given back as it is; images that the blob store has lost since
        are there again. Raises `OSError` and `sqlalchemy.exc.SQLAlchemyError`, and then nothing of it is left.
        """
        try:
            await self._put_images(dataset)
            return await self._add_rows(dataset, tenant=tenant)
        except BaseException:  # a cancelled upload, too
            await self._forget(dataset)
            raise

    async def page(self, *, tenant: str | None, before: int | None = None, limit: int) -> DatasetPage:
        """Up to `limit` datasets, newest first, those with ids below `before`; `tenant` none = of all tenants."""
        query = select(DatasetSummaryRow).order_by(DatasetSummaryRow.id.desc()).limit(limit + 1)
        if tenant is not None:
            query = query.where(DatasetSummaryRow.tenant == tenant)
        if before is not None:
            query = query.where(DatasetSummaryRow.id < before)
        async with self._database.reading() as session:
            rows = (await session.scalars(query)).all()
        items = tuple(_dataset(row) for row in rows[:limit])
        return DatasetPage(items=items, next=items[-1].id if len(rows) > limit else None)

    async def get(self, id: int, *, tenant: str | None) -> Dataset | None:
        """One dataset; none when there is none, or it is not `tenant`'s (none = any tenant's)."""
        async with self._database.reading() as session:
            row = await session.get(DatasetSummaryRow, id)
        return None if row is None or tenant not in {None, row.tenant} else _dataset(row)

    async def rows(self, id: int) -> tuple[DatasetRow, ...]:
        """All rows, in the order of the upload; none when there is no such dataset."""
        page = await self.row_page(id, limit=_ROWS_AT_ONCE)
        rows = list(page.items)
        while page.next is not None:
            page = await self.row_page(id, after=page.next, limit=_ROWS_AT_ONCE)
            rows += page.items
        return tuple(rows)

    async def row_page(self, id: int, *, after: int | None = None, limit: int) -> DatasetRowPage:
        """Up to `limit` rows in the order of the upload, those after the place `after`."""
        query = select(DatasetContentRow).where(DatasetContentRow.dataset_id == id).limit(limit + 1)
        if after is not None:
            query = query.where(DatasetContentRow.position > after)
        async with self._database.reading() as session:
            rows = (await session.scalars(query.order_by(DatasetContentRow.position))).all()
        items = tuple(DatasetRow.model_validate(row.content) for row in rows[:limit])
        return DatasetRowPage(items=items, next=rows[limit - 1].position if len(rows) > limit else None)

    async def image_format(self, id: int, digest: str) -> ImageFormat | None:
        """The format of an image file of this dataset; none when it has no such file."""
        async with self._database.reading() as session:
            row = await session.get(DatasetImageRow, (id, digest))
        return None if row is None else ImageFormat(row.format)

    async def known_images(self, digests: Iterable[str], *, tenant: str | None) -> set[str]:
        """Those of `digests` that name an image file of a dataset of `tenant` (none = of any tenant)."""
        async with self._database.reading() as session:
            return await _shown(session, list(set(digests)), tenant=tenant)

    async def image(self, digest: str) -> bytes:
        """An image file as it came; `load_judge_image` reads it. Raises `OSError`, also when it is not there."""
        data = await self._blobs.get(dataset_blob(digest))
        if data is None:
            raise FileNotFoundError(f"the blob store has lost the image {digest}")
        return data

    @stamina.retry(on=IntegrityError, attempts=20, wait_initial=0.005, wait_jitter=0.05, wait_max=0.5)
    async def _add_rows(self, dataset: SoundDataset, *, tenant: str) -> tuple[Dataset, bool]:
        """In one transaction. Of two that store the same at a time, the one that comes second finds the first's."""
        async with self._database.writing() as session:
            existing = await _find(session, dataset.digest, tenant=tenant)
            if existing is not None:
                return existing, False
            summary = _summary(dataset, tenant=tenant)
            session.add(summary)
            await session.flush()
            for values in _in_portions(_content_values(summary.id, dataset)):
                await session.execute(insert(DatasetContentRow), values)
            for values in _in_portions(_image_values(summary.id, dataset)):
                await session.execute(insert(DatasetImageRow), values)
            return _dataset(summary), True

    async def _put_images(self, dataset: SoundDataset) -> None:
        batches = _batches(dataset.images)
        while batch := await asyncio.to_thread(next, batches, None):
            await self._blobs.put(batch)

    async def _forget(self, dataset: SoundDataset) -> None:
        """Delete the images that no dataset shows. The transaction keeps others from being stored meanwhile."""
        try:
            async with self._database.writing() as session:
                needed = await _shown(session, list(dataset.images), tenant=None)
                await self._blobs.delete(dataset_blob(digest) for digest in dataset.images.keys() - needed)
        except (OSError, SQLAlchemyError) as error:
            _log.warning("images of a dataset that was not stored are left", extra={"detail": type(error).__name__})


async def _find(session: AsyncSession, digest: str, *, tenant: str) -> Dataset | None:
    query = select(DatasetSummaryRow).where(DatasetSummaryRow.tenant == tenant, DatasetSummaryRow.digest == digest)
    row = await session.scalar(query)
    return None if row is None else _dataset(row)


async def _shown(session: AsyncSession, digests: Sequence[str], *, tenant: str | None) -> set[str]:
    """Those of `digests` that some dataset of `tenant` shows (none = of any tenant)."""
    shown = set[str]()
    query = select(DatasetImageRow.digest).distinct()
    if tenant is not None:
        query = query.join(DatasetSummaryRow, DatasetSummaryRow.id == DatasetImageRow.dataset_id)
        query = query.where(DatasetSummaryRow.tenant == tenant)
    for start in range(0, len(digests), _ROWS_AT_ONCE):
        some = digests[start : start + _ROWS_AT_ONCE]
        shown.update(await session.scalars(query.where(DatasetImageRow.digest.in_(some))))
    return shown


def _batches(images: Mapping[str, SoundImage]) -> Iterator[dict[str, bytes]]:
    """The files by the names of their blobs, as many at a time as memory is meant for."""
    batch: dict[str, bytes] = {}
    num_bytes = 0
    for digest, image in images.items():
        batch[dataset_blob(digest)] = image.file.read()
        num_bytes += image.file.num_bytes
        if num_bytes >= _BATCH_BYTES:
            yield batch
            batch, num_bytes = {}, 0
    if batch:
        yield batch


def _in_portions(values: Iterator[dict[str, object]]) -> Iterator[list[dict[str, object]]]:
    while portion := list(islice(values, _ROWS_AT_ONCE)):
        yield portion


def _content_values(id: int, dataset: SoundDataset) -> Iterator[dict[str, object]]:
    for position, row in enumerate(dataset.rows):
        yield {"dataset_id": id, "position": position, "content": row.model_dump(mode="json", exclude_none=True)}


def _image_values(id: int, dataset: SoundDataset) -> Iterator[dict[str, object]]:
    for digest, image in dataset.images.items():
        yield {
            "dataset_id": id,
            "digest": digest,
            "format": image.checked.format.value,
            "num_bytes": image.file.num_bytes,
        }


def _summary(dataset: SoundDataset, *, tenant: str) -> DatasetSummaryRow:
    return DatasetSummaryRow(
        tenant=tenant,
        digest=dataset.digest,
        task=dataset.task.value,
        num_rows=len(dataset.rows),
        num_pairs=sum(row.num_pairs for row in dataset.rows),
        num_ties=sum(row.num_ties for row in dataset.rows),
        num_images=len(dataset.images),
        num_bytes=sum(image.file.num_bytes for image in dataset.images.values()),
        created=datetime.now(UTC),
    )


def _dataset(row: DatasetSummaryRow) -> Dataset:
    return Dataset(
        id=row.id,
        digest=row.digest,
        task=Task(row.task),
        num_rows=row.num_rows,
        num_pairs=row.num_pairs,
        num_ties=row.num_ties,
        num_images=row.num_images,
        num_bytes=row.num_bytes,
        tenant=row.tenant,
        created=row.created,
    )
