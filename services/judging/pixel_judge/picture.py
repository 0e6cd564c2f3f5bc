"""A decoded image and the views of it that measures share.

Owns decoding, colour space and working size; measures live in the other files.

Sizes below: H, W native pixels; h, w the working size, at most 64 a side, on which shapes and colours are judged.
"""

import io
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array: TypeAlias = NDArray[np.floating[Any]]
Mask: TypeAlias = NDArray[np.bool_]

_WORKING_SIDE = 64
"""Pixels; larger images are averaged down, which costs a flat shape nothing and keeps a verdict at milliseconds."""

_TO_LMS = np.array(
    [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
     [0.0883024619, 0.2817188376, 0.6299787005]], dtype=np.float32
)  # fmt: skip
_TO_OKLAB = np.array(
    [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
     [0.0259040371, 0.7827717662, -0.8086757660]], dtype=np.float32
)  # fmt: skip
"""OKLab: B. Ottosson, "A perceptual color space for image processing" (2020)."""


class PictureError(ValueError):
    """An image cannot be decoded."""


class Picture:
    """One image; views at the working size are computed once, when first asked for.

    Those at native size are not kept: pictures stay in memory for a while (`gallery`), and as floating-point numbers
    they would take five times the room.
    """

    def __init__(self, image: Image.Image) -> None:
        self.image = image

    @classmethod
    def decode(cls, png: bytes) -> "Picture":
        """Raises `PictureError` for anything that Pillow's PNG decoder refuses."""
        try:
            with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
                return cls(image.convert("RGB"))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            raise PictureError("an image is not a readable PNG") from None

    @property
    def rgb(self) -> Array:
        """[H, W, 3], 0 to 1."""
        return np.asarray(self.image, dtype=np.float32) / 255

    @property
    def num_bytes(self) -> int:
        """About how much memory it takes: 3 bytes a pixel, and 32 a pixel of the working size for views and outline."""
        num_pixels = self.image.width * self.image.height
        return 3 * num_pixels + 32 * min(num_pixels, _WORKING_SIDE**2)

    @cached_property
    def small(self) -> Array:
        """[h, w, 3], 0 to 1."""
        longest = max(self.image.size)
        if longest <= _WORKING_SIDE:
            return self.rgb
        width, height = (max(1, round(side * _WORKING_SIDE / longest)) for side in self.image.size)
        return np.asarray(self.image.resize((width, height), Image.Resampling.BOX), dtype=np.float32) / 255

    @cached_property
    def lab(self) -> Array:
        """OKLab of `small`, [h, w, 3]: L 0 to 1, a and b about −0.3 to 0.3."""
        return to_oklab(self.small)

    @property
    def luma(self) -> Array:
        """[H, W], 0 to 1 (Rec. 601)."""
        return self.rgb @ np.array([0.299, 0.587, 0.114], dtype=np.float32)


def to_oklab(rgb: Array) -> Array:
    """SRGB [..., 3], 0 to 1, to OKLab [..., 3]."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    lab: Array = np.cbrt(linear @ _TO_LMS.T) @ _TO_OKLAB.T
    return lab
