import asyncio
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from services.storage.blobs import BlobStore, image_blob, rubric_blob

DIGEST = f"sha256:ab{'0' * 62}"


@pytest.fixture(params=["folder", "file url", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    urls = {"folder": str(tmp_path), "file url": f"file://{tmp_path}", "memory": f"memory://{uuid.uuid4()}"}
    return BlobStore(urls[request.param])


async def test_blobs_come_back_byte_for_byte(blobs: BlobStore) -> None:
    await blobs.put({"images/ab/1.png": b"\x89PNG\x00", "rubrics/ab/2.json": b""})
    assert await blobs.get("images/ab/1.png") == b"\x89PNG\x00"
    assert await blobs.get("rubrics/ab/2.json") == b""
    assert await blobs.get("images/ab/2.png") is None


async def test_deleted_blobs_are_gone_and_deleting_again_is_fine(blobs: BlobStore) -> None:
    await blobs.put({"a/1": b"one", "a/2": b"two"})
    await blobs.delete(["a/1", "a/3"])
    await blobs.delete(["a/1"])
    assert (await blobs.get("a/1"), await blobs.get("a/2")) == (None, b"two")


def test_names_are_content_addresses_in_folders_of_their_first_two_digits() -> None:
    assert image_blob(DIGEST) == f"images/ab/ab{'0' * 62}.png"
    assert rubric_blob(DIGEST) == f"rubrics/ab/ab{'0' * 62}.json"


async def test_a_blob_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    blobs = BlobStore(str(tmp_path))
    await blobs.put({"a/1": b"one"})
    before = (tmp_path / "a/1").stat()
    await blobs.put({"a/1": b"one"})
    after = (tmp_path / "a/1").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


async def test_many_writers_of_one_blob_leave_one_whole_file(tmp_path: Path) -> None:
    blobs, data = BlobStore(str(tmp_path)), b"x" * 100_000
    await asyncio.gather(*(blobs.put({"a/1": data}) for _ in range(16)))
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["1"]
    assert await blobs.get("a/1") == data


def test_a_disk_that_is_full_raises_os_error_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    script = """
import asyncio, resource, sys
from services.storage.blobs import BlobStore
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    asyncio.run(BlobStore(sys.argv[1]).put({"a/1": b"x" * 1000, "a/2": b"x" * 1001}))
except OSError as error:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=False)
    assert done.stdout == "refused\n", done.stderr
    assert [(path.name, path.stat().st_size) for path in (tmp_path / "a").iterdir()] == [("1", 1000)]


class NamesItsThread(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Holds for every file the thread that asks for it."""

    protocol = "names-its-thread"
    cachable = False

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: object) -> bytes:
        return str(threading.get_ident()).encode()


class FailsInItsOwnWay(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Raises what is no `OSError`, as file systems of clouds do."""

    protocol = "fails-in-its-own-way"
    cachable = False

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: object) -> None:
        raise LookupError("no credentials")


for kind in (NamesItsThread, FailsInItsOwnWay):
    fsspec.register_implementation(kind.protocol, kind, clobber=True)


async def test_no_file_is_touched_on_the_thread_of_the_event_loop() -> None:
    thread = await BlobStore("names-its-thread://x").get("a")
    assert thread is not None
    assert int(thread) != threading.get_ident()


async def test_every_failure_of_a_file_system_is_an_os_error() -> None:
    with pytest.raises(OSError, match="the blob store failed: LookupError"):
        await BlobStore("fails-in-its-own-way://x").put({"a/1": b"one"})


@pytest.mark.parametrize("url", ["nowhere://bucket/x", "s3://key:hunter2@bucket/x"])
def test_a_url_that_cannot_be_opened_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"cannot keep blobs in (nowhere|s3)://…: ") as refusal:
        BlobStore(url)
    assert "hunter2" not in str(refusal.value)
