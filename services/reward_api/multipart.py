"""Reading a multipart body into named parts: bytes stay bytes, whatever headers a client gives its parts.

python-multipart does the parsing. The one rule: a part's name occurs once.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from services.reward_api.errors import InvalidRequest

MULTIPART = "multipart/form-data"


async def read_parts(request: Request, *, boundary: bytes, max_parts: int) -> dict[str, bytes]:
    """The parts of a `multipart/form-data` body by name, in order.

    Raises `InvalidRequest` for a missing boundary, a damaged body, a part without a name, a name that occurs twice
    (`part` says which) and more than `max_parts` parts.
    """
    if not boundary:
        raise InvalidRequest(f"{MULTIPART} needs a boundary")
    reader = _PartReader(max_parts=max_parts)
    try:
        await reader.read(request.stream(), boundary=boundary)
    except FormParserError as error:
        raise InvalidRequest("the multipart body is damaged") from error
    return {name: bytes(data) for name, data in reader.parts.items()}


@dataclass(slots=True)
class _PartReader:
    max_parts: int
    parts: dict[str, bytearray] = field(default_factory=dict)
    _header_name: bytearray = field(default_factory=bytearray)
    _header_value: bytearray = field(default_factory=bytearray)
    _disposition: str = ""
    _data: bytearray = field(default_factory=bytearray)
    _is_complete: bool = False

    async def read(self, stream: AsyncIterator[bytes], *, boundary: bytes) -> None:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._extend_header_name,
                "on_header_value": self._extend_header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._extend_data,
                "on_end": self._end,
            },
        )
        async for chunk in stream:
            parser.write(chunk)
        parser.finalize()
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
        if name in self.parts:
            raise InvalidRequest(f"the part {name!r} was sent twice", part=name)
        if len(self.parts) == self.max_parts:
            raise InvalidRequest(f"more than {self.max_parts} parts were sent")
        self._data = self.parts[name] = bytearray()

    def _extend_data(self, data: bytes, start: int, end: int) -> None:
        self._data += data[start:end]

    def _end(self) -> None:
        self._is_complete = True
