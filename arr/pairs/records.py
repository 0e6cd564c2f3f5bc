"""Records of a Parquet, JSON or JSON Lines file, one after the other.

The one rule: memory stays flat, however large the file is: Parquet is read page by page (a page is a whole row group
where the writer made it one), a JSON array element by element (ijson), JSON Lines line by line.
"""

import codecs
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

PARQUET = ".parquet"
JSON_LINES = (".jsonl", ".ndjson")
SUFFIXES = (PARQUET, ".json", *JSON_LINES)

Tick = Callable[[int], None]
"""Told how many bytes of the file are read."""

_ROWS_PER_BATCH = 16
"""Records that are in memory at once: 100 MB where each holds two images of 3 MB."""

_PAGE_BUFFER_BYTES = 1 << 20
"""Read-ahead per column; without it pyarrow reads a column of a whole row group at once."""

_ARRAY_BUFFER_BYTES = 4096
"""ijson's own is 64 KiB: hundreds of rows, which would all be over in one step of a progress bar."""

_ARRAY = "item"
_WRAPPED_ARRAY = "pairs.item"
"""ijson's prefixes of the elements of `[…]` and of `{"pairs": […]}`."""


class DatasetError(Exception):
    """The dataset as a whole cannot be read; the message is one line that says what to do."""


class BadRecord(NamedTuple):
    """A line that holds no record."""

    problem: str


Values = dict[str, Any] | BadRecord


def read_records(path: Path, *, keys: frozenset[str] | None = None, tick: Tick = lambda _: None) -> Iterator[Values]:
    """The records of a file in order; Parquet columns outside `keys` are not read.

    Raises `DatasetError` for a file that is not what its name says, is damaged, or needs a library that is missing.
    """
    try:
        if path.suffix == PARQUET:
            yield from _read_parquet(path, keys, tick)
        elif (prefix := _array_prefix(path)) is None:
            yield from _read_lines(path, tick)
        else:
            yield from _read_array(path, prefix, tick)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error


def first_keys(path: Path) -> frozenset[str]:
    """The keys of a file's first record; none where there is no record. Raises `DatasetError` like `read_records`."""
    if path.suffix == PARQUET:
        return frozenset(_open_parquet(path).schema_arrow.names)
    return next((frozenset(values) for values in read_records(path) if isinstance(values, dict)), frozenset())


def _open_parquet(path: Path) -> Any:
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise DatasetError(_needs("pyarrow", "Parquet")) from error
    try:
        return ParquetFile(path, pre_buffer=False, buffer_size=_PAGE_BUFFER_BYTES)
    except (pyarrow.ArrowException, OSError) as error:
        raise DatasetError(f"{path} is not a Parquet file: {error}") from error


def _read_parquet(path: Path, keys: frozenset[str] | None, tick: Tick) -> Iterator[Values]:
    file = _open_parquet(path)
    import pyarrow

    num_bytes, num_rows, num_read = path.stat().st_size, file.metadata.num_rows, 0
    columns = [name for name in file.schema_arrow.names if keys is None or name in keys]
    try:
        for batch in file.iter_batches(batch_size=_ROWS_PER_BATCH, columns=columns, use_threads=False):
            for values in batch.to_pylist():
                num_read += 1
                tick(num_bytes * num_read // num_rows)
                yield values
    except pyarrow.ArrowException as error:
        raise DatasetError(f"{path} is damaged after row {num_read}: {error}") from error


def _array_prefix(path: Path) -> str | None:
    """Where ijson finds the records: none = the file holds one record per line."""
    if path.suffix in JSON_LINES:
        return None
    ijson = _ijson()
    with _open_after_bom(path) as stream:
        try:
            for prefix, event, _ in ijson.parse(stream, multiple_values=True):
                if event == "start_array" and prefix in ("", "pairs"):
                    return _WRAPPED_ARRAY if prefix else _ARRAY
                if event == "end_map" and prefix == "":
                    return None
        except ijson.JSONError:
            return None  # told line by line
    return None


def _read_array(path: Path, prefix: str, tick: Tick) -> Iterator[Values]:
    ijson, num_read = _ijson(), 0
    with _open_after_bom(path) as stream:
        try:
            for values in ijson.items(stream, prefix, use_float=True, buf_size=_ARRAY_BUFFER_BYTES):
                num_read += 1
                tick(stream.tell())
                yield values if isinstance(values, dict) else BadRecord(f"not an object: {str(values)[:60]}")
        except (ijson.JSONError, UnicodeDecodeError) as error:
            raise DatasetError(f"{path} is damaged after row {num_read}: {' '.join(str(error).split())}") from error


def _open_after_bom(path: Path) -> IO[bytes]:
    """Some editors begin a file with a byte order mark, which is no JSON."""
    stream = path.open("rb")
    if stream.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
        stream.seek(0)
    return stream


def _read_lines(path: Path, tick: Tick) -> Iterator[Values]:
    with path.open("rb") as stream:
        for line in _lines(stream):
            tick(stream.tell())
            try:
                values = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield BadRecord(f"not JSON: {error}")
            else:
                yield values if isinstance(values, dict) else BadRecord(f"not an object: {str(values)[:60]}")


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    return (stripped for line in iter(stream.readline, b"") if (stripped := line.strip()))


def _ijson() -> Any:
    try:
        import ijson
    except ImportError as error:
        raise DatasetError(_needs("ijson", "a JSON array")) from error
    return ijson


def _needs(library: str, what: str) -> str:
    return f"reading {what} needs {library}: pip install 'rubric-reward[datasets]'"
