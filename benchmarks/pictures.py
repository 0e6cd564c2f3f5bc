"""Pictures to judge: as large in bytes as photographs, made by arithmetic from a seed.

Owns what the judge is shown. The one rule: no two requests send the same file unless a measurement is about just that;
`stamped` makes another file of the same pixels.
"""

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SPECTRUM_EXPONENT = 1.7
"""Amplitude ~ 1/f^x; photographs have about 1, denoised ones more. At 1.7, 512×512 pixels are about 350 kB of PNG."""

_END_OF_HEADER = 33
"""Bytes of a PNG's signature (8) and its first chunk, IHDR (25)."""


def photo_like_pngs(num_pictures: int, *, side: int, seed: int = 0) -> list[bytes]:
    """RGB PNGs of side × side pixels, each of a brightness and contrast of its own, as a client encodes them."""
    dice = np.random.default_rng(seed)
    return [_png(_paint(dice, side)) for _ in range(num_pictures)]


def stamped(png: bytes, text: str) -> bytes:
    """The same picture in another file: `text` (Latin-1) stands in a chunk that no decoder needs."""
    data = b"Comment\0" + text.encode("latin-1")
    chunk = struct.pack(">I", len(data)) + b"tEXt" + data + struct.pack(">I", zlib.crc32(b"tEXt" + data))
    return png[:_END_OF_HEADER] + chunk + png[_END_OF_HEADER:]


def _paint(dice: np.random.Generator, side: int) -> NDArray[np.uint8]:
    """[side, side, 3]: noise with the spectrum of a photograph, the same for all channels but for a third of it."""
    grey = _noise(dice, side)
    channels = np.stack([0.8 * grey + 0.35 * _noise(dice, side) for _ in range(3)], axis=-1)
    brightness, contrast = dice.uniform(90, 165), dice.uniform(25, 60)
    return np.clip(brightness + contrast * channels, 0, 255).astype(np.uint8)


def _noise(dice: np.random.Generator, side: int) -> NDArray[np.float64]:
    """[side, side], mean 0 and standard deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, np.newaxis], np.fft.rfftfreq(side)[np.newaxis])
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(dice.standard_normal((side, side))) / frequency**_SPECTRUM_EXPONENT
    noise = np.fft.irfft2(spectrum, s=(side, side))
    return np.asarray(noise / noise.std())


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
