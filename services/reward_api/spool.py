"""Where an upload lies until it is known to be sound: one file on disk that has no name.

Owns bytes by their place in that file. A file without a name is gone when it is closed, also when the process dies, and
no name that a client sends is ever a path.

The one rule: memory holds a block at a time, however large the upload is.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

BLOCK_BYTES = 1 << 20


class Spool:
    """A file that is written at its end and read anywhere, also by several threads at a time."""

    def __init__(self, folder: Path) -> None:
        """Open it in `folder`, whose disk must have the room. Raises `OSError`."""
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by `close`
        self._num_bytes = 0

    def write(self, data: bytes) -> None:
        """Append. Raises `OSError`."""
        self._file.write(data)
        self._num_bytes += len(data)

    def tell(self) -> int:
        """Where the next write goes."""
        return self._num_bytes

    def flush(self) -> None:
        """Let readers see what was written. Raises `OSError`."""
        self._file.flush()

    def read(self, offset: int, num_bytes: int) -> bytes:
        """Bytes from `offset` on, fewer at the end. Raises `OSError`."""
        return os.pread(self._file.fileno(), num_bytes, offset)

    def close(self) -> None:
        """Give the room back."""
        self._file.close()

    def __enter__(self) -> Self:
        """Return the spool itself."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


@dataclass(frozen=True, kw_only=True, slots=True)
class SpooledFile:
    """A file within a spool."""

    spool: Spool
    offset: int
    num_bytes: int
    digest: str
    """`sha256:…` of its bytes."""

    def read(self) -> bytes:
        """All of it."""
        return b"".join(self.blocks())

    def blocks(self) -> Iterator[bytes]:
        """All of it, a block at a time."""
        end = self.offset + self.num_bytes
        for start in range(self.offset, end, BLOCK_BYTES):
            yield self.spool.read(start, min(BLOCK_BYTES, end - start))

    def part(self, offset: int, num_bytes: int) -> "SpooledFile":
        """A file within this one; `offset` counts from its first byte."""
        inner = SpooledFile(spool=self.spool, offset=self.offset + offset, num_bytes=num_bytes, digest="")
        hashed = hashlib.sha256()
        for block in inner.blocks():
            hashed.update(block)
        return replace(inner, digest=f"sha256:{hashed.hexdigest()}")


class SpoolWriter:
    """Writes one file to the end of a spool."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._offset = spool.tell()
        self._hash = hashlib.sha256()

    @property
    def num_bytes(self) -> int:
        """Written so far."""
        return self._spool.tell() - self._offset

    def write(self, data: bytes) -> None:
        """Append. Raises `OSError`."""
        self._hash.update(data)
        self._spool.write(data)

    def finish(self) -> SpooledFile:
        """The file, ready to be read. Raises `OSError`."""
        self._spool.flush()
        digest = f"sha256:{self._hash.hexdigest()}"
        return SpooledFile(spool=self._spool, offset=self._offset, num_bytes=self.num_bytes, digest=digest)
