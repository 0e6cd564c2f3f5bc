"""Datasets that come as one archive: tar, tar.gz or zip.

Owns which archives are taken apart, and does so within the spool that they lie in: nothing is ever written under a
member's name.

The one rule: what an archive says about itself is not believed. Sizes are counted while unpacking, and reading its
tables of contents takes bounded memory.
"""

import gzip
import io
import stat
import struct
import tarfile
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Protocol

from services.reward_api.spool import BLOCK_BYTES, Spool, SpooledFile, SpoolWriter

ROWS_FILE = "pairs.jsonl"
"""The member with the rows; images are named relative to its folder."""

MAX_TABLE_BYTES = 16 << 20
"""Longest piece of a table of contents: the whole one of a zip, one header of a tar."""

_ZIP_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}

_ENCRYPTED = 0x1
"""Flag of an encrypted member (APPNOTE 4.4.4)."""

_DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError),
    *(ValueError, NotImplementedError, OverflowError, struct.error),
    RecursionError,  # tarfile reads a header that belongs to the next one by calling itself
)
"""What the standard library raises for archives that are none."""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class ArchiveError(Exception):
    """An archive is refused; the message is a sentence for the caller."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchiveLimits:
    """What is too much."""

    max_bytes: int
    """Of everything in it, unpacked."""
    max_file_bytes: int
    """Of one member, unpacked."""
    max_files: int
    """Members, folders included."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unpacked:
    """What is in an archive."""

    pairs: SpooledFile
    images: dict[str, SpooledFile]
    """By path, relative to the folder of the rows."""


def unpack(archive: SpooledFile, *, limits: ArchiveLimits) -> Unpacked:
    """Take an archive apart; its members go to the end of its own spool.

    Hidden files and folders, such as those that macOS adds, are left out. Raises `ArchiveError` for: archives of other
    kinds, damaged or encrypted ones; links and other members that are no files; paths that are absolute or lead out
    of the archive; a path that occurs twice; too much of anything; and no `pairs.jsonl`, or several. Raises `OSError`
    when the disk is full.
    """
    files = _Files(spool=archive.spool, limits=limits)
    try:
        _unpack(archive, files)
    except _DAMAGED as error:
        raise ArchiveError("the archive is damaged, or is no tar, tar.gz or zip") from error
    return _relative_to_the_rows(files.found)


def _unpack(archive: SpooledFile, files: "_Files") -> None:
    signature = archive.spool.read(archive.offset, min(4, archive.num_bytes))
    if signature.startswith(b"PK"):
        _unpack_zip(archive, files)
    elif signature.startswith(b"\x1f\x8b"):
        with gzip.GzipFile(fileobj=_Window(archive)) as content:
            _unpack_tar(files.copy(content, "the archive", max_bytes=files.limits.max_bytes), files)
    else:
        _unpack_tar(archive, files)


def _unpack_tar(archive: SpooledFile, files: "_Files") -> None:
    """Members of a tar lie in it as they are, so they are used where they lie."""
    with tarfile.open(fileobj=_Window(archive), mode="r:") as tar:
        while member := tar.next():
            path = files.path_of_next(member.name)
            if member.isdir() or path is None:
                continue
            if not member.isreg() or member.issparse():
                raise ArchiveError(f"{member.name[:200]!r} is a link, or something else that is no file")
            if member.size > files.limits.max_file_bytes:
                raise ArchiveError(f"{member.name[:200]!r} has more than {files.limits.max_file_bytes} bytes")
            if member.offset_data + member.size > archive.num_bytes:
                raise ArchiveError("the archive is truncated")
            files.found[path] = archive.part(member.offset_data, member.size)


def _unpack_zip(archive: SpooledFile, files: "_Files") -> None:
    with zipfile.ZipFile(_Window(archive)) as table:
        for member in table.infolist():
            path = files.path_of_next(member.filename)
            if member.is_dir() or path is None:
                continue
            if stat.S_IFMT(member.external_attr >> 16) not in {0, stat.S_IFREG}:  # 0: made on a system without modes
                raise ArchiveError(f"{member.filename[:200]!r} is a link, or something else that is no file")
            if member.flag_bits & _ENCRYPTED or member.compress_type not in _ZIP_METHODS:
                raise ArchiveError(f"{member.filename[:200]!r} is encrypted, or not compressed by deflate")
            with table.open(member) as content:
                name = repr(member.filename[:200])
                files.found[path] = files.copy(content, name, max_bytes=files.limits.max_file_bytes)


def _relative_to_the_rows(found: dict[str, SpooledFile]) -> Unpacked:
    rows = [PurePosixPath(path) for path in found if PurePosixPath(path).name == ROWS_FILE]
    if len(rows) != 1:
        raise ArchiveError(f"the archive must have one file {ROWS_FILE}, and has {len(rows)}")
    folder = rows[0].parent
    pairs = found.pop(str(rows[0]))
    outside = next((path for path in found if not PurePosixPath(path).is_relative_to(folder)), None)
    if outside is not None:
        raise ArchiveError(f"{outside[:200]!r} lies outside the folder of {ROWS_FILE}")
    images = {str(PurePosixPath(path).relative_to(folder)): file for path, file in found.items()}
    return Unpacked(pairs=pairs, images=images)


@dataclass(kw_only=True, slots=True)
class _Files:
    """The members found so far."""

    spool: Spool
    limits: ArchiveLimits
    found: dict[str, SpooledFile] = field(default_factory=dict)
    _num_members: int = 0
    _num_bytes: int = 0

    def path_of_next(self, name: str) -> str | None:
        """The path of one member more; none when it is left out."""
        self._num_members += 1
        if self._num_members > self.limits.max_files:
            raise ArchiveError(f"the archive has more than {self.limits.max_files} members")
        name.encode()  # raises ValueError for names in other encodings than UTF-8
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            raise ArchiveError(f"the archive's path {name[:200]!r} is not relative, or leads out of it")
        if any(part.startswith(".") or part == "__MACOSX" for part in path.parts):
            return None
        if str(path) in self.found:
            raise ArchiveError(f"the archive has {name[:200]!r} twice")
        return str(path)

    def copy(self, content: _Readable, name: str, *, max_bytes: int) -> SpooledFile:
        writer = SpoolWriter(self.spool)
        while block := content.read(BLOCK_BYTES):
            self._num_bytes += len(block)
            if self._num_bytes > self.limits.max_bytes:
                raise ArchiveError(f"the archive has more than {self.limits.max_bytes} bytes unpacked")
            if writer.num_bytes + len(block) > max_bytes:
                raise ArchiveError(f"{name} has more than {max_bytes} bytes")
            writer.write(block)
        return writer.finish()


class _Window(io.RawIOBase):
    """A spooled file as the standard library reads files, never much at a time."""

    def __init__(self, file: SpooledFile) -> None:
        super().__init__()
        self._file = file
        self._position = 0

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self._file.num_bytes - self._position)
        num_bytes = left if size is None or size < 0 else min(size, left)
        if num_bytes > MAX_TABLE_BYTES:
            raise ArchiveError(f"the archive has a table of contents of more than {MAX_TABLE_BYTES} bytes")
        data = self._file.spool.read(self._file.offset + self._position, num_bytes)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.num_bytes}[whence]
        if start + offset < 0:
            raise ValueError("there is nothing before the archive")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
