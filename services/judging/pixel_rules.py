"""The rules that change pixels whatever file they came from: alpha on white, colours to sRGB, upright.

Owns the arithmetic; what a file means by its samples is decided in `png_pixels` and `dataset_images`. The one rule: an
image that a rule cannot be applied to is refused, never guessed at.
"""

import io
import struct
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from services.judging.png_chunks import InvalidImageError

Pixels: TypeAlias = NDArray[np.uint8]
Samples: TypeAlias = NDArray[np.unsignedinteger[Any]]

MAX_PROFILE_BYTES = 1 << 20
"""ICC profiles in the wild are below 600 kB; a larger one is a decompression bomb."""

_ROWS_AT_ONCE = 256
"""Exact blending needs 8 bytes per sample; in bands that is a few MB instead of eight times the image."""

_EXIF_ORIENTATION = 0x0112

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation → what turns the stored pixels upright; 1 already is."""


def blend_with_white(colour: Samples, full_colour: int, alpha: Samples, full_alpha: int) -> Pixels:
    """round(255 · (c·a + (1 − a))) with c and a as fractions of full, [H, W, C]."""
    denominator = full_colour * full_alpha
    blended = np.empty(colour.shape, np.uint8)
    for top in range(0, len(colour), _ROWS_AT_ONCE):
        rows = slice(top, top + _ROWS_AT_ONCE)
        c, a = colour[rows].astype(np.int64), alpha[rows, :, np.newaxis].astype(np.int64)
        numerator = 255 * (c * a + full_colour * (full_alpha - a))
        blended[rows] = (2 * numerator + denominator) // (2 * denominator)
    return blended


def to_srgb(pixels: Pixels, icc_profile: bytes) -> Pixels:
    """Convert 8-bit RGB or grey [H, W, C] from an ICC profile to sRGB. Only RGB profiles are understood.

    Raises `InvalidImageError` for other profiles, profiles that do not fit the pixels, and damaged or oversized ones.
    """
    try:
        if len(icc_profile) > MAX_PROFILE_BYTES:
            raise InvalidImageError("the image has an oversized ICC profile")
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
        if profile.profile.xcolor_space.strip() != "RGB" or pixels.shape[2] != 3:
            raise InvalidImageError("the image has an ICC profile that is not RGB; convert it to sRGB first")
        converted = ImageCms.profileToProfile(Image.fromarray(pixels), profile, ImageCms.createProfile("sRGB"))
    except (OSError, ImageCms.PyCMSError):
        raise InvalidImageError("the image has a damaged or oversized ICC profile") from None
    return np.asarray(converted)


def turn_upright(pixels: Pixels, exif: bytes | None) -> Pixels:
    """Apply the orientation that EXIF data, from its TIFF header on, names. Raises `InvalidImageError` if damaged."""
    orientation = 1 if exif is None else _orientation(exif)
    if orientation not in _UPRIGHT:
        return pixels
    return np.asarray(Image.fromarray(pixels).transpose(_UPRIGHT[orientation]))


def _orientation(exif: bytes) -> int:
    """The orientation entry of the first TIFF directory (EXIF 2.32, section 4.6), 1 when there is none."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    try:
        if order is None:
            raise InvalidImageError("the image has damaged EXIF data")
        (directory,) = struct.unpack_from(f"{order}I", exif, 4)
        (num_entries,) = struct.unpack_from(f"{order}H", exif, directory)
        for entry in range(num_entries):
            tag, _type, _count, value = struct.unpack_from(f"{order}HHIH", exif, directory + 2 + 12 * entry)
            if tag == _EXIF_ORIENTATION:
                return int(value)
    except struct.error:
        raise InvalidImageError("the image has damaged EXIF data") from None
    return 1
