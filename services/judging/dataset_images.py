"""Images of labelled data: PNG, JPEG and WebP files, kept as they came and judged as exact PNG pixels.

Owns what is read from JPEG and WebP; PNG is read in `images`, and the rules for alpha, colour and orientation are the
same for all (`pixel_rules`). `/reward` takes PNG alone and does not come here.

The one rule: a decoder is chosen by the file's first bytes out of these three, and the size is known to be within the
limits before any pixel is decoded.
"""

import io
import struct
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.WebPImagePlugin import WebPImageFile

from services.judging.images import JudgeImage, image_of_pixels, read_png
from services.judging.pixel_rules import Pixels, blend_with_white, to_srgb, turn_upright
from services.judging.png_chunks import SIGNATURE, InvalidImageError, parse_png
from services.judging.png_pixels import decode_rgb

__all__ = ["CheckedImage", "ImageFormat", "InvalidImageError", "check_image", "load_judge_image"]

MAX_JPEG_SCANS = 100
"""Progressive JPEGs have about ten scans; each costs as much as decoding the whole image once more."""

_JPEG_SCAN = b"\xff\xda"
"""Start of a scan (ITU-T T.81, table B.1); within compressed data, FF is always followed by 00 or a restart marker."""

_EXIF_PREFIX = b"Exif\0\0"
"""What stands before the TIFF header in a JPEG, and in some WebP files."""


class ImageFormat(StrEnum):
    """The file formats that are read."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"

    @property
    def media_type(self) -> str:
        """As HTTP names it."""
        return f"image/{self.value}"


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedImage:
    """A file that can be judged."""

    format: ImageFormat
    width: int
    """Pixels, upright."""
    height: int
    """Pixels, upright."""


def check_image(data: bytes, *, max_pixels: int = 16_000_000, max_side: int = 8192) -> CheckedImage:
    """Decode a file to the end, so that reading it again cannot fail. Raises like `load_judge_image`."""
    format = _format_of(data)
    if format is ImageFormat.PNG:
        pixels = decode_rgb(parse_png(data, max_pixels=max_pixels, max_side=max_side))
    else:
        pixels = _decode(data, format, max_pixels=max_pixels, max_side=max_side)
    return CheckedImage(format=format, width=pixels.shape[1], height=pixels.shape[0])


def load_judge_image(
    data: bytes, *, max_pixels: int = 16_000_000, max_side: int = 8192, judge_max_pixels: int | None = None
) -> JudgeImage:
    """Read a PNG, JPEG or WebP file as the judge gets it: upright 8-bit sRGB on white, as PNG (see `read_png`).

    Of a JPEG with several pictures in it, the main one is read. JPEG leaves decoders some freedom: other versions of
    libjpeg may give pixels that differ by a step, and with them another digest.

    Raises `InvalidImageError` (one sentence, safe for clients) for: other formats; more than `max_pixels` or
    `max_side`; animations; truncated or damaged files; JPEGs in CMYK or of more than `MAX_JPEG_SCANS` scans; ICC
    profiles that are not RGB or do not fit the pixels; damaged EXIF data.
    """
    format = _format_of(data)
    if format is ImageFormat.PNG:
        return read_png(data, max_pixels=max_pixels, max_side=max_side, judge_max_pixels=judge_max_pixels)
    pixels = _decode(data, format, max_pixels=max_pixels, max_side=max_side)
    return image_of_pixels(pixels, judge_max_pixels=judge_max_pixels)


def _format_of(data: bytes) -> ImageFormat:
    if data.startswith(SIGNATURE):
        return ImageFormat.PNG
    if data.startswith(b"\xff\xd8\xff"):
        return ImageFormat.JPEG
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return ImageFormat.WEBP
    raise InvalidImageError("the image is not a PNG, JPEG or WebP file")


def _decode(data: bytes, format: ImageFormat, *, max_pixels: int, max_side: int) -> Pixels:
    """Upright RGB pixels uint8 [H, W, 3] of a JPEG or WebP file."""
    name = "JPEG" if format is ImageFormat.JPEG else "WebP"
    try:
        with _open_jpeg(data) if format is ImageFormat.JPEG else _open_webp(data, max_pixels, max_side) as image:
            _check_size(*image.size, max_pixels=max_pixels, max_side=max_side)
            image.load()
            return _normalised(image, name)
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        if isinstance(error, InvalidImageError):
            raise
        raise InvalidImageError(f"the {name} is damaged: its pixels cannot be decoded") from None


class _JpegFile(JpegImageFile):
    """A JPEG whose EXIF data is left to `pixel_rules`; Pillow would parse all of it, with warnings, for the dpi."""

    def _read_dpi_from_exif(self) -> None:
        pass


def _open_jpeg(data: bytes) -> ImageFile:
    if data.count(_JPEG_SCAN) > MAX_JPEG_SCANS:
        raise InvalidImageError(f"the JPEG has more than {MAX_JPEG_SCANS} scans")
    return _JpegFile(io.BytesIO(data))


def _open_webp(data: bytes, max_pixels: int, max_side: int) -> ImageFile:
    """The decoder allocates the whole canvas when it is made, so the size is read from the header before."""
    _check_size(*_webp_size(data), max_pixels=max_pixels, max_side=max_side)
    image = WebPImageFile(io.BytesIO(data))
    if image.n_frames > 1:
        raise InvalidImageError("animated WebPs are not accepted")
    return image


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height in the first chunk (RFC 9649, sections 2.5 to 2.7)."""
    kind = data[12:16]
    if len(data) >= 30 and kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if len(data) >= 30 and kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1
    if len(data) >= 30 and kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    raise InvalidImageError("the WebP is damaged: it has no header")


def _check_size(width: int, height: int, *, max_pixels: int, max_side: int) -> None:
    if max(width, height) > max_side:
        raise InvalidImageError(f"the image is {width}×{height} pixels; at most {max_side} a side are accepted")
    if width * height > max_pixels:
        raise InvalidImageError(f"the image is {width}×{height} pixels; at most {max_pixels} in all are accepted")


def _normalised(image: Image.Image, name: str) -> Pixels:
    if image.mode not in {"L", "RGB", "RGBA"}:
        raise InvalidImageError(f"the {name} has {image.mode} pixels; convert it to sRGB first")
    samples = np.asarray(image).reshape(image.height, image.width, -1)
    colour, alpha = (samples[:, :, :3], samples[:, :, 3]) if image.mode == "RGBA" else (samples, None)
    if profile := image.info.get("icc_profile"):
        colour = to_srgb(np.ascontiguousarray(colour), profile)
    pixels = colour if alpha is None else blend_with_white(colour, 255, alpha, 255)
    rgb = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    exif = image.info.get("exif")
    return turn_upright(rgb, exif.removeprefix(_EXIF_PREFIX) if exif else None)
