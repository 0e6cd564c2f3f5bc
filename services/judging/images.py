"""Images on their way to the judge: checked, normalised to 8-bit RGB, and named by what they show.

Owns what is accepted and what an image's identity is; the container is read in `png_chunks`, pixels in `png_pixels`.
Refuses everything but PNG, and never opens a path or a URL.

The one rule: the judge sees exactly the pixels that the digest names, losslessly.
"""

import base64
import hashlib
import io
import json
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from services.judging.pixel_rules import Pixels
from services.judging.png_chunks import InvalidImageError, parse_png
from services.judging.png_pixels import decode_rgb

__all__ = ["InvalidImageError", "JudgeImage", "image_digest", "read_png"]

PROCESSING = "rgb8-white-srgb-upright-1"
"""Names the normalisation below and is part of every digest: change it when a rule changes."""

SCALED_PROCESSING = f"{PROCESSING}+lanczos32-1"
"""The same for images that were scaled down: change it when their sizes or the resampler change."""

PATCH = 32
"""Sides of scaled images are multiples of this many pixels: Qwen3-VL reads 32×32 of them as one token."""

MIN_JUDGE_PIXELS = PATCH * PATCH
"""The smallest limit that an image can be scaled down to."""


@dataclass(frozen=True, kw_only=True)
class JudgeImage:
    """One image as the judge gets it. Without slots, so that it can keep its data URL."""

    digest: str
    """`sha256:…` over mode, width, height, pixels and processing."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    png: bytes
    """8-bit RGB PNG of exactly these pixels and no metadata; a file that already was one keeps its compressed data."""

    @property
    def num_bytes(self) -> int:
        """Memory it takes, its data URL included."""
        return len(self.png) * 7 // 3

    @cached_property
    def data_url(self) -> bytes:
        """`data:image/png;base64,…` in ASCII, built once for all the questions about this image."""
        return b"data:image/png;base64," + base64.b64encode(self.png)


def read_png(
    data: bytes, *, max_pixels: int = 16_000_000, max_side: int = 8192, judge_max_pixels: int | None = None
) -> JudgeImage:
    """Check a PNG and normalise it to upright 8-bit sRGB on white, of at most `judge_max_pixels` pixels.

    * 16 bits per sample are scaled exactly, round(v · 255 / 65535); palettes and grey become RGB.
    * Alpha is composited on white; `eXIf` orientation is applied; an RGB ICC profile is converted to sRGB.
    * Text and all other chunks that do not change pixels are dropped unread; `gAMA`, `cHRM` and `sRGB` are ignored.
    * Last of all, an image with more than `judge_max_pixels` pixels (at least 1024; none = no limit) is scaled down to
      the size that `judged_size` gives, by Lanczos resampling.

    Raises `InvalidImageError` (one sentence, safe for clients) for: anything but a PNG; more than `max_pixels` or
    `max_side`; animations; truncated or damaged files; bytes after the end; unknown critical chunks; interlaced 16-bit
    images; ICC profiles that are not RGB or do not fit the pixels; `cICP` colours other than sRGB.
    """
    file = parse_png(data, max_pixels=max_pixels, max_side=max_side)
    plain_png = file.stripped() if file.is_plain_rgb else None
    return image_of_pixels(decode_rgb(file), judge_max_pixels=judge_max_pixels, png=plain_png)


def image_of_pixels(pixels: Pixels, *, judge_max_pixels: int | None = None, png: bytes | None = None) -> JudgeImage:
    """Upright RGB pixels uint8 [H, W, 3] as the judge gets them: scaled down where there are too many, else exact.

    `png` is a file of exactly these pixels, where there is one.
    """
    height, width, _ = pixels.shape
    if judge_max_pixels is not None and width * height > judge_max_pixels:
        return _scaled_down(pixels, judged_size(width, height, max_pixels=judge_max_pixels))
    return JudgeImage(digest=image_digest(pixels), width=width, height=height, png=png or _encode(pixels))


def image_digest(pixels: Pixels, *, processing: str = PROCESSING) -> str:
    """Identity of upright RGB pixels uint8 [H, W, 3]: a header that fixes the shape, then the bytes."""
    height, width, _ = pixels.shape
    header = json.dumps(["RGB", width, height, processing]).encode() + b"\n"
    return f"sha256:{hashlib.sha256(header + np.ascontiguousarray(pixels).tobytes()).hexdigest()}"


def judged_size(width: int, height: int, *, max_pixels: int) -> tuple[int, int]:
    """Width and height that an image of more than `max_pixels` pixels is scaled down to.

    The largest multiples of 32 at or below the sides that keep the aspect and have `max_pixels` pixels together; a side
    that would vanish keeps 32 pixels and leaves the other what is left. Raises `ValueError` below 1024 pixels.
    """
    if max_pixels < MIN_JUDGE_PIXELS:
        raise ValueError(f"images cannot be scaled down to {max_pixels} pixels; at least {MIN_JUDGE_PIXELS}")
    # (w·s)² = max_pixels · w / h for the scale s with (w·s)·(h·s) = max_pixels; in integers, so that nothing rounds up.
    longest = _whole_patches(max_pixels // PATCH)
    new_width = _whole_patches(math.isqrt(max_pixels * width // height))
    new_height = _whole_patches(math.isqrt(max_pixels * height // width))
    return min(max(new_width, PATCH), longest), min(max(new_height, PATCH), longest)


def _whole_patches(length: int) -> int:
    return length // PATCH * PATCH


def _scaled_down(pixels: Pixels, size: tuple[int, int]) -> JudgeImage:
    scaled = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
    digest = image_digest(scaled, processing=SCALED_PROCESSING)
    return JudgeImage(digest=digest, width=size[0], height=size[1], png=_encode(scaled))


def _encode(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
