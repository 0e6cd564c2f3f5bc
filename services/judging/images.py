"""Images on their way to the judge: checked, normalised to 8-bit RGB, and named by what they show.

Owns what is accepted and what an image's identity is; the container is read in `png_chunks`, pixels in `png_pixels`.
Refuses everything but PNG, and never opens a path or a URL.

The one rule: the judge sees exactly the pixels that the digest names, losslessly.
"""

import hashlib
import io
import json
from dataclasses import dataclass

import numpy as np
from PIL import Image

from services.judging.png_chunks import InvalidImageError, parse_png
from services.judging.png_pixels import Pixels, decode_rgb

__all__ = ["InvalidImageError", "JudgeImage", "image_digest", "read_png"]

PROCESSING = "rgb8-white-srgb-upright-1"
"""Names the normalisation below and is part of every digest: change it when a rule changes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeImage:
    """One image as the judge gets it."""

    digest: str
    """`sha256:…` over mode, width, height, pixels and processing."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    png: bytes
    """8-bit RGB PNG of exactly these pixels and no metadata; a file that already was one keeps its compressed data."""


def read_png(data: bytes, *, max_pixels: int = 16_000_000, max_side: int = 8192) -> JudgeImage:
    """Check a PNG and normalise it to upright 8-bit sRGB on white.

    * 16 bits per sample are scaled exactly, round(v · 255 / 65535); palettes and grey become RGB.
    * Alpha is composited on white; `eXIf` orientation is applied; an RGB ICC profile is converted to sRGB.
    * Text and all other chunks that do not change pixels are dropped unread; `gAMA`, `cHRM` and `sRGB` are ignored.

    Raises `InvalidImageError` (one sentence, safe for clients) for: anything but a PNG; more than `max_pixels` or
    `max_side`; animations; truncated or damaged files; bytes after the end; unknown critical chunks; interlaced 16-bit
    images; ICC profiles that are not RGB or do not fit the pixels; `cICP` colours other than sRGB.
    """
    file = parse_png(data, max_pixels=max_pixels, max_side=max_side)
    pixels = decode_rgb(file)
    height, width, _ = pixels.shape
    png = file.stripped() if file.is_plain_rgb else _encode(pixels)
    return JudgeImage(digest=image_digest(pixels), width=width, height=height, png=png)


def image_digest(pixels: Pixels) -> str:
    """Identity of upright RGB pixels uint8 [H, W, 3]: a header that fixes the shape, then the bytes."""
    height, width, _ = pixels.shape
    header = json.dumps(["RGB", width, height, PROCESSING]).encode() + b"\n"
    return f"sha256:{hashlib.sha256(header + np.ascontiguousarray(pixels).tobytes()).hexdigest()}"


def _encode(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
