"""Datasets in a real database and blob store: whole or not at all, and only for those whose they are."""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import func, select

from services.judging.dataset_images import CheckedImage, ImageFormat
from services.storage.blobs import BlobStore, dataset_blob
from services.storage.database import Database
from services.storage.dataset_checks import SoundDataset, SoundImage, dataset_digest
from services.storage.datasets import DatasetRepository
from services.storage.tables import DatasetContentRow, DatasetImageRow, DatasetSummaryRow
from shared_schemas.datasets import DatasetRow
from shared_schemas.rubrics import Task


@dataclass(frozen=True)
class File:
    """Its bytes are what it is called."""

    name: str

    @property
    def data(self) -> bytes:
        return self.name.encode()

    @property
    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.data).hexdigest()}"

    @property
    def num_bytes(self) -> int:
        return len(self.data)

    def read(self) -> bytes:
        if self.name == "unreadable":
            raise OSError("scripted")
        return self.data


def dataset(*pairs: tuple[str, str], rank: tuple[int, int] = (1, 2)) -> SoundDataset:
    files = {name: File(name) for pair in pairs for name in pair}
    rows = tuple(
        DatasetRow(prompt=f"row {n}", images=(files[a].digest, files[b].digest), rank=rank)
        for n, (a, b) in enumerate(pairs)
    )
    checked = CheckedImage(format=ImageFormat.WEBP, width=1, height=1)
    images = {file.digest: SoundImage(file=file, checked=checked) for file in files.values()}
    return SoundDataset(digest=dataset_digest(rows), task=Task.T2I, rows=rows, images=images)


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(str(tmp_path / "blobs"))


@pytest.fixture
def repository(database: Database, blobs: BlobStore) -> DatasetRepository:
    return DatasetRepository(database, blobs)


def stored_files(tmp_path: Path) -> set[str]:
    return {path.read_text() for path in (tmp_path / "blobs").rglob("*") if path.is_file()}


async def num_table_rows(database: Database) -> list[int | None]:
    async with database.reading() as session:
        tables = (DatasetSummaryRow, DatasetContentRow, DatasetImageRow)
        return [await session.scalar(select(func.count()).select_from(table)) for table in tables]


async def test_a_dataset_comes_back_as_it_was_stored(repository: DatasetRepository) -> None:
    sound = dataset(("a", "bb"), ("a", "ccc"))
    stored, is_new = await repository.add(sound, tenant="t")
    assert is_new
    assert (stored.digest, stored.tenant, stored.task) == (sound.digest, "t", Task.T2I)
    assert (stored.num_rows, stored.num_pairs, stored.num_ties, stored.num_images, stored.num_bytes) == (2, 2, 0, 3, 6)
    assert await repository.get(stored.id, tenant="t") == stored
    assert await repository.rows(stored.id) == sound.rows
    assert await repository.image(File("bb").digest) == b"bb"
    assert await repository.image_format(stored.id, File("bb").digest) is ImageFormat.WEBP


async def test_the_same_rows_in_another_order_are_the_same_dataset(repository: DatasetRepository) -> None:
    sound = dataset(("a", "b"), ("a", "c"))
    first, _ = await repository.add(sound, tenant="t")
    turned = SoundDataset(digest=sound.digest, task=sound.task, rows=sound.rows[::-1], images=sound.images)
    assert await repository.add(turned, tenant="t") == (first, False)
    assert await repository.rows(first.id) == sound.rows


async def test_ties_are_counted(repository: DatasetRepository) -> None:
    stored, _ = await repository.add(dataset(("a", "b"), ("c", "d"), rank=(1, 1)), tenant="t")
    assert (stored.num_pairs, stored.num_ties) == (2, 2)


async def test_tenants_have_datasets_of_their_own(repository: DatasetRepository) -> None:
    mine, _ = await repository.add(dataset(("a", "b")), tenant="mine")
    theirs, is_new = await repository.add(dataset(("a", "b")), tenant="theirs")
    assert is_new
    assert mine.digest == theirs.digest
    assert await repository.get(theirs.id, tenant="mine") is None
    assert await repository.get(theirs.id, tenant=None) == theirs
    assert (await repository.page(tenant="mine", limit=10)).items == (mine,)
    assert (await repository.page(tenant=None, limit=10)).items == (theirs, mine)


async def test_datasets_and_rows_are_read_in_pages(repository: DatasetRepository) -> None:
    ids = [(await repository.add(dataset(("a", name)), tenant="t"))[0].id for name in "bcd"]
    first = await repository.page(tenant="t", limit=2)
    assert ([item.id for item in first.items], first.next) == ([ids[2], ids[1]], ids[1])
    last = await repository.page(tenant="t", before=first.next, limit=2)
    assert ([item.id for item in last.items], last.next) == ([ids[0]], None)
    sound = dataset(*(("x", f"y{n}") for n in range(5)))
    stored, _ = await repository.add(sound, tenant="t")
    start = await repository.row_page(stored.id, limit=3)
    rest = await repository.row_page(stored.id, after=start.next, limit=3)
    assert (start.items + rest.items, rest.next) == (sound.rows, None)


async def test_many_rows_are_stored_and_read_in_several_statements(repository: DatasetRepository) -> None:
    sound = dataset(*((f"x{n}", f"y{n}") for n in range(1201)))
    stored, _ = await repository.add(sound, tenant="t")
    assert await repository.rows(stored.id) == sound.rows


async def test_of_many_who_store_the_same_at_a_time_one_is_first(
    repository: DatasetRepository, database: Database
) -> None:
    sound = dataset(("a", "b"))
    answers = await asyncio.gather(*(repository.add(sound, tenant="t") for _ in range(8)))
    assert sorted(is_new for _, is_new in answers) == [False] * 7 + [True]
    assert len({stored.id for stored, _ in answers}) == 1
    assert await num_table_rows(database) == [1, 1, 2]


async def test_a_dataset_that_cannot_be_stored_leaves_nothing_that_only_it_needs(
    repository: DatasetRepository, database: Database, tmp_path: Path
) -> None:
    await repository.add(dataset(("a", "b")), tenant="t")
    large = "x" * (17 << 20)  # more than is stored at a time, so that it is there before the next cannot be read
    with pytest.raises(OSError, match="scripted"):
        await repository.add(dataset(("a", large), ("c", "unreadable")), tenant="t")
    assert stored_files(tmp_path) == {"a", "b"}
    assert await num_table_rows(database) == [1, 1, 2]


async def test_an_upload_that_is_cancelled_leaves_nothing(
    database: Database, tmp_path: Path, repository: DatasetRepository
) -> None:
    reached = asyncio.Event()

    class Held(BlobStore):
        async def put(self, blobs: Mapping[str, bytes]) -> None:
            await super().put(blobs)
            reached.set()
            await asyncio.Event().wait()

    upload = asyncio.create_task(
        DatasetRepository(database, Held(str(tmp_path / "blobs"))).add(dataset(("a", "b")), tenant="t")
    )
    await reached.wait()
    assert stored_files(tmp_path) == {"a", "b"}
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert stored_files(tmp_path) == set()
    assert await num_table_rows(database) == [0, 0, 0]


async def test_storing_a_dataset_again_brings_back_an_image_that_was_lost(
    repository: DatasetRepository, blobs: BlobStore
) -> None:
    stored, _ = await repository.add(dataset(("a", "b")), tenant="lab")
    await blobs.delete([dataset_blob(File("a").digest)])
    assert await repository.add(dataset(("a", "b")), tenant="lab") == (stored, False)
    assert await repository.image(File("a").digest) == b"a"


async def test_what_is_not_there_is_none(repository: DatasetRepository, blobs: BlobStore) -> None:
    stored, _ = await repository.add(dataset(("a", "b")), tenant="t")
    assert await repository.get(stored.id + 1, tenant=None) is None
    assert await repository.rows(stored.id + 1) == ()
    assert await repository.image_format(stored.id, File("c").digest) is None
    await blobs.delete([dataset_blob(File("a").digest)])
    with pytest.raises(FileNotFoundError, match="has lost the image"):
        await repository.image(File("a").digest)
