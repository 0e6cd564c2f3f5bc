"""The blob store: bytes under content-addressed names, on any file system that fsspec knows.

Owns where blobs lie and how they get there whole; what is kept and for how long is decided elsewhere. The one rule: a
name says what is in it (`images/ab/abcd….png` holds the pixels of that digest), so a blob that is there is never
written again.
"""

import asyncio
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import TypeVar

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

T = TypeVar("T")


class BlobStore:
    """All blobs below one fsspec URL or local folder. Every call works in a thread, none on the event loop."""

    def __init__(self, url: str) -> None:
        """Nothing is opened or created yet. Raises `ValueError` for a URL that no installed file system takes."""
        try:
            self._files, self._root = url_to_fs(url)
        except (ValueError, ImportError) as error:
            # The URL itself may hold credentials, so only its scheme is named.
            raise ValueError(f"cannot keep blobs in {url.partition('://')[0]}://…: {error}") from error

    async def put(self, blobs: Mapping[str, bytes]) -> None:
        """Store bytes by name. Raises `OSError`; those stored by then stay."""
        await _in_thread(lambda: self._put(blobs))

    async def get(self, name: str) -> bytes | None:
        """The bytes under `name`; none when there are none. Raises `OSError`."""
        return await _in_thread(lambda: self._get(name))

    async def delete(self, names: Iterable[str]) -> None:
        """Remove blobs; those that are not there are fine. Raises `OSError`."""
        await _in_thread(lambda: self._delete(names))

    def _put(self, blobs: Mapping[str, bytes]) -> None:
        if not isinstance(self._files, LocalFileSystem):
            self._files.pipe({self._path(name): data for name, data in blobs.items()})  # an object appears whole
            return
        for name, data in blobs.items():
            self._put_file(self._path(name), data)

    def _put_file(self, path: str, data: bytes) -> None:
        """Write beside the place and move it there: whoever looks sees all of it or nothing."""
        if self._files.exists(path):
            return
        self._files.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
        unfinished = f"{path}.{uuid.uuid4().hex}.part"
        try:
            self._files.pipe_file(unfinished, data)
            self._files.mv(unfinished, path)
        except OSError:
            if self._files.exists(unfinished):
                self._files.rm_file(unfinished)
            raise

    def _get(self, name: str) -> bytes | None:
        try:
            data: bytes = self._files.cat_file(self._path(name))
        except FileNotFoundError:
            return None
        return data

    def _delete(self, names: Iterable[str]) -> None:
        for name in names:
            try:
                self._files.rm_file(self._path(name))
            except FileNotFoundError:
                continue

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


async def _in_thread(work: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(work)
    except OSError:
        raise
    except Exception as error:  # file systems of clouds have error classes of their own
        raise OSError(f"the blob store failed: {type(error).__name__}") from error


def image_blob(digest: str) -> str:
    """Name of the PNG with the pixels of `digest`."""
    return _name("images", digest, "png")


def rubric_blob(digest: str) -> str:
    """Name of the JSON of the rubric content of `digest`."""
    return _name("rubrics", digest, "json")


def dataset_blob(digest: str) -> str:
    """Name of the image file of a dataset whose bytes have `digest`: PNG, JPEG or WebP, as it came."""
    return _name("datasets", digest, "image")


def _name(folder: str, digest: str, suffix: str) -> str:
    """Folders by the first two hexadecimal digits: no folder holds more than 1/256 of the blobs."""
    value = digest.removeprefix("sha256:")
    return f"{folder}/{value[:2]}/{value}.{suffix}"
