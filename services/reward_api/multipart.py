"""Reading a multipart body into named parts: bytes stay bytes, whatever headers a client gives its parts.

Owns the names of parts; where their bytes go is a `PartSink`'s business. python-multipart does the parsing. The one
rule: a part's name occurs once.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from services.reward_api.errors import InvalidRequest

MULTIPART = "multipart/form-data"


_BLOCK_BYTES = 1 << 20
"""How much is collected before a thread is asked to store it."""


class PartSink(Protocol):
    """Takes the parts of a body, one after the other."""

    def begin(self, name: str) -> None:
        """A part begins."""

    def write(self, data: bytes) -> None:
        """Some of its bytes."""

    def end(self) -> None:
        """It ends."""


async def read_parts(request: Request, *, boundary: bytes, max_parts: int) -> dict[str, bytes]:
    """The parts of a `multipart/form-data` body by name, in order.

    Raises `InvalidRequest` for a missing boundary, a damaged body, a part without a name, a name that occurs twice
    (`part` says which) and more than `max_parts` parts.
    """
    parts = _PartsInMemory()
    try:
        parser = _parser(parts, boundary=boundary, max_parts=max_parts)
        async for chunk in request.stream():
            parser.write(chunk)
        parser.finish()
    except FormParserError as error:
        raise InvalidRequest("the multipart body is damaged") from error
    return {name: bytes(data) for name, data in parts.parts.items()}


async def spool_parts(request: Request, sink: PartSink, *, boundary: bytes, max_parts: int) -> None:
    """Hand the parts to `sink`, which works in a thread, as they arrive.

    Raises like `read_parts`, and what `sink` raises.
    """
    try:
        parser = _parser(sink, boundary=boundary, max_parts=max_parts)
        async for block in _blocks(request.stream()):
            await asyncio.to_thread(parser.write, block)
        parser.finish()
    except FormParserError as error:
        raise InvalidRequest("the multipart body is damaged") from error


async def _blocks(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    block = bytearray()
    async for chunk in chunks:
        block += chunk
        if len(block) >= _BLOCK_BYTES:
            yield bytes(block)
            block.clear()
    yield bytes(block)


@dataclass(slots=True)
class _PartsInMemory:
    parts: dict[str, bytearray] = field(default_factory=dict)
    _data: bytearray = field(default_factory=bytearray)

    def begin(self, name: str) -> None:
        self._data = self.parts[name] = bytearray()

    def write(self, data: bytes) -> None:
        self._data += data

    def end(self) -> None:
        pass


def _parser(sink: PartSink, *, boundary: bytes, max_parts: int) -> "_PartReader":
    if not boundary:
        raise InvalidRequest(f"{MULTIPART} needs a boundary")
    return _PartReader(sink, boundary=boundary, max_parts=max_parts)


class _PartReader:
    """Feeds a sink from python-multipart's callbacks."""

    def __init__(self, sink: PartSink, *, boundary: bytes, max_parts: int) -> None:
        self._sink = sink
        self._max_parts = max_parts
        self._names: set[str] = set()
        self._disposition = ""
        self._header_name, self._header_value = bytearray(), bytearray()
        self._is_complete = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._extend_header_name,
                "on_header_value": self._extend_header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._extend_data,
                "on_part_end": sink.end,
                "on_end": self._end,
            },
        )

    def write(self, chunk: bytes) -> None:
        self._parser.write(chunk)

    def finish(self) -> None:
        self._parser.finalize()
        if not self._is_complete:
            raise FormParserError("the closing boundary is missing")

    def _begin_part(self) -> None:
        self._disposition = ""
        self._begin_header()

    def _begin_header(self) -> None:
        self._header_name, self._header_value = bytearray(), bytearray()

    def _extend_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _extend_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value.decode("latin-1")
        self._begin_header()

    def _end_headers(self) -> None:
        name = parse_options_header(self._disposition)[1].get(b"name", b"").decode("utf-8", errors="replace")
        if not name:
            raise InvalidRequest("every part needs a name")
        if name in self._names:
            raise InvalidRequest(f"the part {name!r} was sent twice", part=name)
        if len(self._names) == self._max_parts:
            raise InvalidRequest(f"more than {self._max_parts} parts were sent")
        self._names.add(name)
        self._sink.begin(name)

    def _extend_data(self, data: bytes, start: int, end: int) -> None:
        self._sink.write(data[start:end])

    def _end(self) -> None:
        self._is_complete = True
