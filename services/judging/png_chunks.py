"""The PNG container: signature, chunks, checksums, header (W3C PNG, third edition).

Owns which files are sound; refuses to look at pixels (`png_pixels`) and to decompress anything.

The one rule: everything is checked before anything is decoded, and only chunks that change pixels are kept. A text
chunk that would unpack to gigabytes is therefore harmless: nobody unpacks it.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_CHUNK_OVERHEAD = 12
"""Bytes of length, type and CRC around a chunk's data."""

_ANCILLARY_BIT = 0x20
"""Set in the first letter of chunks that a decoder may skip (PNG section 5.4)."""

_PIXEL_CHUNKS = frozenset({b"PLTE", b"tRNS", b"iCCP", b"eXIf", b"cICP"})
_ANIMATION_CHUNKS = frozenset({b"acTL", b"fcTL", b"fdAT"})
_SRGB_CICP = bytes([1, 13, 0, 1])
"""BT.709 primaries, sRGB transfer, RGB, full range (ITU-T H.273)."""


class InvalidImageError(ValueError):
    """An image is refused; `str()` is one sentence that is safe to show to clients."""


class ColourType(IntEnum):
    """What the samples of a pixel are (PNG section 6.1)."""

    GREY = 0
    RGB = 2
    PALETTE = 3
    GREY_ALPHA = 4
    RGB_ALPHA = 6

    @property
    def num_channels(self) -> int:
        """Samples per pixel."""
        return {self.GREY: 1, self.RGB: 3, self.PALETTE: 1, self.GREY_ALPHA: 2, self.RGB_ALPHA: 4}[self]


_BIT_DEPTHS = {
    ColourType.GREY: {1, 2, 4, 8, 16},
    ColourType.RGB: {8, 16},
    ColourType.PALETTE: {1, 2, 4, 8},
    ColourType.GREY_ALPHA: {8, 16},
    ColourType.RGB_ALPHA: {8, 16},
}


_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Left, top, column step and row step of each interlacing pass (PNG section 8.2)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """The IHDR chunk."""

    width: int
    height: int
    bit_depth: int
    colour_type: ColourType
    interlaced: bool

    @classmethod
    def parse(cls, data: bytes) -> "Header":
        """Read 13 bytes of IHDR. Raises `InvalidImageError` for a combination that PNG does not define."""
        width, height, depth, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", data)
        known = colour in {member.value for member in ColourType} and depth in _BIT_DEPTHS[ColourType(colour)]
        if not known or compression or filtering or interlace > 1:
            raise InvalidImageError("the PNG header names a pixel format that PNG does not define")
        colour_type = ColourType(colour)
        return cls(width=width, height=height, bit_depth=depth, colour_type=colour_type, interlaced=interlace == 1)

    @property
    def num_raw_bytes(self) -> int:
        """Length of all scanlines with their filter bytes, as they come out of the zlib stream."""
        bits = self.bit_depth * self.colour_type.num_channels
        passes = _ADAM7 if self.interlaced else ((0, 0, 1, 1),)
        sizes = (
            (len(range(left, self.width, across)), len(range(top, self.height, down)))
            for left, top, across, down in passes
        )
        return sum(height * (1 + (width * bits + 7) // 8) for width, height in sizes if width)

    def pack(self, *, bit_depth: int) -> bytes:
        """The same header as 13 bytes, with another bit depth."""
        fields = (self.width, self.height, bit_depth, self.colour_type, 0, 0, self.interlaced)
        return struct.pack(">IIBBBBB", *fields)


@dataclass(frozen=True, kw_only=True, slots=True)
class PngFile:
    """A sound, still PNG with what matters to its pixels."""

    header: Header
    ancillary: dict[bytes, bytes]
    """Data of the chunks that change pixels, by type."""
    image_data: bytes
    """The zlib stream of all IDAT chunks."""

    @property
    def is_plain_rgb(self) -> bool:
        """Whether the file already holds 8-bit RGB pixels that nothing changes."""
        plain = self.header.bit_depth == 8 and self.header.colour_type is ColourType.RGB
        return plain and not self.ancillary.keys() - {b"PLTE", b"cICP"}

    def stripped(self) -> bytes:
        """The same pixels, bit for bit, with nothing else in the file; metadata does not travel to the judge."""
        return write_png(self.header.pack(bit_depth=self.header.bit_depth), self.image_data)


def parse_png(data: bytes, *, max_pixels: int, max_side: int) -> PngFile:
    """Check the container of `data`. Raises `InvalidImageError` with a sentence for clients."""
    if not data.startswith(SIGNATURE):
        raise InvalidImageError("the image is not a PNG")
    chunks = _chunks(data)
    header = _checked_header(next(chunks, None), max_pixels=max_pixels, max_side=max_side)
    ancillary: dict[bytes, bytes] = {}
    image_data: list[bytes] = []
    for kind, content in chunks:
        if kind == b"IDAT":
            image_data.append(content)
        elif kind in _PIXEL_CHUNKS:
            if kind in ancillary:
                raise InvalidImageError(f"the PNG has more than one {kind.decode()} chunk")
            ancillary[kind] = content
        else:
            _refuse_unless_harmless(kind)
    if not image_data:
        raise InvalidImageError("the PNG has no pixels")
    if ancillary.get(b"cICP", _SRGB_CICP) != _SRGB_CICP:
        raise InvalidImageError("the PNG declares colours other than sRGB in a cICP chunk")
    return PngFile(header=header, ancillary=ancillary, image_data=b"".join(image_data))


def write_png(header: bytes, image_data: bytes, *, palette: bytes | None = None) -> bytes:
    """A PNG of IHDR, PLTE where given, IDAT and IEND."""
    chunks = [(b"IHDR", header), (b"PLTE", palette), (b"IDAT", image_data), (b"IEND", b"")]
    return SIGNATURE + b"".join(_pack_chunk(kind, content) for kind, content in chunks if content is not None)


def _refuse_unless_harmless(kind: bytes) -> None:
    if kind in _ANIMATION_CHUNKS:
        raise InvalidImageError("animated PNGs are not accepted")
    if not kind[0] & _ANCILLARY_BIT:
        raise InvalidImageError("the PNG has a critical chunk that PNG does not define")


def _checked_header(chunk: tuple[bytes, bytes] | None, *, max_pixels: int, max_side: int) -> Header:
    if chunk is None or chunk[0] != b"IHDR" or len(chunk[1]) != 13:
        raise InvalidImageError("the PNG does not start with a header")
    header = Header.parse(chunk[1])
    width, height = header.width, header.height
    if width == 0 or height == 0:
        raise InvalidImageError("the PNG has no pixels")
    if max(width, height) > max_side:
        raise InvalidImageError(f"the image is {width}×{height} pixels; at most {max_side} a side are accepted")
    if width * height > max_pixels:
        raise InvalidImageError(f"the image is {width}×{height} pixels; at most {max_pixels} in all are accepted")
    return header


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and data of every chunk before IEND, lengths and checksums verified."""
    position = len(SIGNATURE)
    while position + _CHUNK_OVERHEAD <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + _CHUNK_OVERHEAD + length
        if end > len(data):
            break
        content = data[position + 8 : end - 4]
        if zlib.crc32(kind + content) != int.from_bytes(data[end - 4 : end], "big"):
            raise InvalidImageError("the PNG is damaged: a checksum does not match")
        if kind == b"IEND":
            if end != len(data):
                raise InvalidImageError("the PNG is followed by other bytes")
            return
        yield kind, content
        position = end
    raise InvalidImageError("the PNG is truncated")


def _pack_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
