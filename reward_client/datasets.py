"""Labelled data on its way to the service: rows as JSON Lines, image files sent from where they lie.

Owns how a dataset becomes parts of a body; what is wrong with it, the service tells, all at once. The one rule: a file
is read while it is sent, so that neither its size nor the number of files matters.
"""

import io
import json
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

from shared_schemas.datasets import DatasetRow, UploadedRow

Row: TypeAlias = Mapping[str, Any] | UploadedRow | DatasetRow
"""One labelled row: an object with the fields that docs/api.md names, or what was read from a service."""

UPLOAD_DEADLINE = timedelta(hours=1)
"""For a whole upload: hundreds of megabytes have to travel, and every image is decoded before the answer comes."""

_RESERVED = {"pairs", "archive"}


class FileOnDisk(io.RawIOBase):
    """A file that is open only while it is read from: thousands of them may wait in one request."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._position = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes. Raises `OSError`."""
        with self._path.open("rb") as file:
            file.seek(self._position)
            data = file.read(size)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to another place. Raises `OSError` for the end of a file that is not there."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position}.get(whence)
        self._position = offset + (self._path.stat().st_size if start is None else start)
        return self._position

    def tell(self) -> int:
        """Where the next bytes are."""
        return self._position


def rows_as_json_lines(rows: Iterable[Row]) -> bytes:
    """One line for each row. Raises `ValueError` or `TypeError` for what is no JSON."""
    fields = (dict(row) if isinstance(row, Mapping) else row.model_dump(exclude_none=True) for row in rows)
    return "".join(f"{json.dumps(row, ensure_ascii=False, allow_nan=False)}\n" for row in fields).encode()


def image_contents(images: Mapping[str, bytes | Path]) -> dict[str, bytes | IO[bytes]]:
    """What to send under each name. Raises `ValueError` for names that do not travel in a header."""
    for name in images:
        if name in _RESERVED or not name or '"' in name or not name.isprintable():
            raise ValueError(f"an image cannot be named {name!r}")
    return {
        # httpx reads, seeks and tells; an `IO` could do more
        name: cast(IO[bytes], FileOnDisk(content)) if isinstance(content, Path) else content
        for name, content in images.items()
    }
