"""From a sound PNG to upright 8-bit RGB on white.

Owns what PNG means by its samples; the container was checked in `png_chunks` before, and the rules that every format
shares are in `pixel_rules`.

The one rule: Pillow decodes a file that was written here and holds nothing but pixels, and the arithmetic is exact.
"""

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.judging.pixel_rules import MAX_PROFILE_BYTES, Pixels, Samples, blend_with_white, to_srgb, turn_upright
from services.judging.png_chunks import ColourType, InvalidImageError, PngFile, write_png


@dataclass(frozen=True, kw_only=True, slots=True)
class _Raster:
    """Samples as stored: uint8 or uint16."""

    colour: Samples
    """[H, W, 3], or [H, W, 1] for grey."""
    alpha: Samples | None
    """[H, W]; None = opaque."""
    full: int
    """Full intensity and full opacity: 255 or 65535."""


def decode_rgb(file: PngFile) -> Pixels:
    """Decode to uint8 [H, W, 3]. Raises `InvalidImageError` for pixels that cannot be decoded completely."""
    raster = _raster(file)
    colour, full = raster.colour, raster.full
    if profile := file.ancillary.get(b"iCCP"):
        colour, full = to_srgb(_scale_to_8_bits(colour, full), _inflate_profile(profile)), 255
    if raster.alpha is None:
        pixels = _scale_to_8_bits(colour, full)
    else:
        pixels = blend_with_white(colour, full, raster.alpha, raster.full)
    rgb = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    return turn_upright(rgb, file.ancillary.get(b"eXIf"))


def _raster(file: PngFile) -> _Raster:
    header = file.header
    if header.colour_type is ColourType.PALETTE:
        return _look_up(file, palette=file.ancillary.get(b"PLTE", b""))
    is_deep = header.bit_depth == 16
    samples = _decode_16_bits(file) if is_deep else _decode_8_bits(file)
    full = 65535 if is_deep else 255
    if header.colour_type in {ColourType.GREY_ALPHA, ColourType.RGB_ALPHA}:
        return _Raster(colour=samples[:, :, :-1], alpha=samples[:, :, -1], full=full)
    return _Raster(colour=samples, alpha=_alpha_of_colour_key(file, samples, full), full=full)


def _look_up(file: PngFile, *, palette: bytes) -> _Raster:
    if not palette or len(palette) % 3:
        raise InvalidImageError("the PNG has no sound palette")
    colours = np.frombuffer(palette, np.uint8).reshape(-1, 3)
    indices = _decode_8_bits(file, palette=palette)[:, :, 0]
    if int(indices.max()) >= len(colours):
        raise InvalidImageError("the PNG uses colours that its palette lacks")
    transparency = file.ancillary.get(b"tRNS")
    if transparency is None:
        return _Raster(colour=colours[indices], alpha=None, full=255)
    opacities = np.frombuffer(transparency[: len(colours)].ljust(len(colours), b"\xff"), np.uint8)
    return _Raster(colour=colours[indices], alpha=opacities[indices], full=255)


def _decode_8_bits(file: PngFile, *, palette: bytes | None = None) -> Pixels:
    """Samples of a PNG with at most 8 bits each, [H, W, C]; 1, 2 and 4 bit grey is scaled to 0 … 255 exactly."""
    header = file.header.pack(bit_depth=file.header.bit_depth)
    stored = zlib.compress(_inflate(file), 0)  # so that Pillow does not inflate it a second time
    return _decode(write_png(header, stored, palette=palette))


def _decode(png: bytes) -> Pixels:
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            image.load()
            samples = np.asarray(image.convert("L") if image.mode == "1" else image)
    except (OSError, SyntaxError, ValueError, zlib.error, struct.error):
        raise InvalidImageError("the PNG is damaged: its pixels cannot be decoded") from None
    return samples.reshape(*samples.shape[:2], -1)


def _decode_16_bits(file: PngFile) -> NDArray[np.uint16]:
    """Samples of a 16-bit PNG, [H, W, C], by way of two 8-bit ones, as Pillow keeps only the high bytes.

    Every PNG filter predicts a byte from the same byte of neighbouring pixels (PNG section 9.2), so high and low bytes
    never mix and each half is a PNG of its own, with the same filters.
    """
    header = file.header
    if header.interlaced:
        raise InvalidImageError("interlaced PNGs with 16 bits per sample are not accepted")
    rows = np.frombuffer(_inflate(file), np.uint8).reshape(header.height, -1)
    filters, samples = rows[:, :1], rows[:, 1:]
    halves = (np.concatenate([filters, samples[:, offset::2]], axis=1).tobytes() for offset in (0, 1))
    high, low = (_decode(write_png(header.pack(bit_depth=8), zlib.compress(half, 1))) for half in halves)
    return np.left_shift(high, 8, dtype=np.uint16) | low


def _inflate(file: PngFile) -> bytes:
    """All scanlines, never more: neither a bomb nor a stream that ends early, which Pillow would fill up with black."""
    try:
        inflated = zlib.decompressobj().decompress(file.image_data, file.header.num_raw_bytes)
    except zlib.error:
        inflated = b""
    if len(inflated) != file.header.num_raw_bytes:
        raise InvalidImageError("the PNG is damaged: its pixels cannot be decoded")
    return inflated


def _alpha_of_colour_key(file: PngFile, samples: Samples, full: int) -> Samples | None:
    """Alpha from a tRNS chunk of a grey or RGB image: the one colour it names is transparent (PNG section 11.3.1)."""
    transparency = file.ancillary.get(b"tRNS")
    if transparency is None:
        return None
    if len(transparency) != 2 * samples.shape[2]:
        raise InvalidImageError("the PNG has a damaged tRNS chunk")
    key = np.frombuffer(transparency, ">u2").astype(np.int64) * full // (2**file.header.bit_depth - 1)
    opaque = (samples != key).any(axis=2)
    return np.where(opaque, full, 0).astype(np.uint16)


def _scale_to_8_bits(samples: Samples, full: int) -> Pixels:
    """round(v · 255 / full)."""
    if full == 255:
        return samples.astype(np.uint8, copy=False)
    return ((samples.astype(np.uint32) * 510 + full) // (2 * full)).astype(np.uint8)


def _inflate_profile(chunk: bytes) -> bytes:
    """The ICC profile in an iCCP chunk (PNG section 11.3.3.3): a name, the compression method, a zlib stream."""
    _name, _, rest = chunk.partition(b"\0")
    try:
        return zlib.decompressobj().decompress(rest[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        raise InvalidImageError("the image has a damaged ICC profile") from None
