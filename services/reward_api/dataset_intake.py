"""Taking in a dataset: from the body of a request to something stored, or to a refusal that names every fault.

Owns the order of things: everything is received, then checked, then stored. The one rule: the service's memory does not
grow with the upload, and one dataset is checked and stored at a time, however many are being sent.
"""

import asyncio
import errno
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from services.reward_api.dataset_archive import ArchiveError, ArchiveLimits, unpack
from services.reward_api.errors import (
    BodyTooLarge,
    InvalidDataset,
    InvalidRequest,
    StorageFull,
    Unavailable,
    UnsupportedMediaType,
)
from services.reward_api.multipart import MULTIPART, spool_parts
from services.reward_api.spool import Spool, SpooledFile, SpoolWriter
from services.storage.dataset_checks import DatasetLimits, SoundDataset, check_dataset
from services.storage.dataset_rows import ROWS, InvalidDatasetError
from services.storage.datasets import DatasetRepository
from shared_schemas.datasets import Dataset
from shared_schemas.problems import FieldError

ARCHIVE = "archive"
"""Name of the part that holds everything."""

MAX_ROWS_BYTES = 64 << 20
"""The rows are read in one go."""

MAX_IMAGE_BYTES = 128 << 20
"""An image is decoded in one go; 16 megapixels with 16 bits and alpha, uncompressed."""

MAX_FILES = 200_000
"""Images of one dataset."""

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Received:
    """What was sent, and not yet looked at."""

    pairs: SpooledFile
    images: Mapping[str, SpooledFile]


class DatasetIntake:
    """Receives, checks and stores datasets."""

    def __init__(self, datasets: DatasetRepository, *, folder: Path, max_bytes: int, limits: DatasetLimits) -> None:
        """Uploads lie in `folder` while they last; archives unpack to at most `max_bytes`."""
        self._datasets = datasets
        self._folder = folder
        self._archive_limits = ArchiveLimits(
            max_bytes=max_bytes, max_file_bytes=MAX_IMAGE_BYTES, max_files=1 + MAX_FILES
        )
        self._limits = limits
        self._turn = asyncio.Lock()

    async def receive(self, request: Request, *, tenant: str) -> tuple[Dataset, bool]:
        """The dataset that a request holds, stored, and whether it is new.

        Raises `UnsupportedMediaType`, `BodyTooLarge`, `InvalidRequest` for a damaged body, `InvalidDataset` with all
        faults, `StorageFull` and `Unavailable`; then nothing is stored.
        """
        content_type, options = parse_options_header(request.headers.get("Content-Type"))
        if content_type.decode("latin-1") != MULTIPART:
            raise UnsupportedMediaType(f"send {MULTIPART}")
        try:
            with Spool(self._folder) as spool:
                received = await self._read(request, spool, boundary=options.get(b"boundary", b""))
                async with self._turn:
                    sound = await asyncio.to_thread(self._check, received)
                    return await self._datasets.add(sound, tenant=tenant)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise StorageFull("there is no room left to store the dataset") from error
            raise Unavailable("the dataset cannot be stored") from error

    async def _read(self, request: Request, spool: Spool, *, boundary: bytes) -> _Received:
        parts = _Parts(spool=spool)
        await spool_parts(request, parts, boundary=boundary, max_parts=1 + MAX_FILES)
        files = parts.files
        if ARCHIVE in files:
            if len(files) > 1:
                raise InvalidRequest(f"the part {ARCHIVE!r} comes alone", part=ARCHIVE)
            return await asyncio.to_thread(self._unpack, files[ARCHIVE])
        if ROWS not in files:
            raise InvalidRequest(f"the part {ROWS!r} or {ARCHIVE!r} is missing", part=ROWS)
        return _Received(pairs=files.pop(ROWS), images=files)

    def _unpack(self, archive: SpooledFile) -> _Received:
        try:
            unpacked = unpack(archive, limits=self._archive_limits)
        except ArchiveError as error:
            raise _refused_archive(str(error)) from error
        if unpacked.pairs.num_bytes > MAX_ROWS_BYTES:
            raise _refused_archive(f"the rows have more than {MAX_ROWS_BYTES} bytes")
        return _Received(pairs=unpacked.pairs, images=unpacked.images)

    def _check(self, received: _Received) -> SoundDataset:
        try:
            return check_dataset(received.pairs.read(), received.images, limits=self._limits)
        except InvalidDatasetError as error:
            raise InvalidDataset(str(error), errors=error.faults) from error


def _refused_archive(message: str) -> InvalidDataset:
    return InvalidDataset(message, part=ARCHIVE, errors=[FieldError(where=ARCHIVE, message=message)])


@dataclass(kw_only=True, slots=True)
class _Parts:
    """Spools the parts of a body."""

    spool: Spool
    files: dict[str, SpooledFile] = field(default_factory=dict)
    _name: str = ""
    _writer: SpoolWriter | None = None

    def begin(self, name: str) -> None:
        self._name, self._writer = name, SpoolWriter(self.spool)

    def write(self, data: bytes) -> None:
        assert self._writer is not None, "a part begins before its bytes come"
        self._writer.write(data)
        limit = {ROWS: MAX_ROWS_BYTES, ARCHIVE: None}.get(self._name, MAX_IMAGE_BYTES)
        if limit is not None and self._writer.num_bytes > limit:
            raise BodyTooLarge(f"the part {self._name[:200]!r} has more than {limit} bytes", part=self._name)

    def end(self) -> None:
        assert self._writer is not None, "a part begins before it ends"
        self.files[self._name] = self._writer.finish()
