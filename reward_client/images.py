"""From whatever a trainer holds to PNG bytes, without losing a bit of what it shows.

Accepts PIL images, numpy arrays, torch tensors (known by their shape and dtype; torch is never imported) and PNG bytes.
"""

import io
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

Image: TypeAlias = PILImage.Image | npt.NDArray[Any] | bytes | Any
"""One picture: a PIL image; a uint8 array [H, W, 3]; a float array or torch tensor [3, H, W] in [0, 1]; PNG bytes."""

PNG_COMPRESS_LEVEL = 1
"""zlib's fastest: on a local network encoding time outweighs the bytes saved."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

RANGE_TOLERANCE = 1e-3
"""How far float pixels may leave [0, 1] by rounding before it is an error: a quarter of one 8-bit step."""

_PNG_MODES = {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}
"""Pillow modes that a PNG holds as they are."""


def to_png(image: Image) -> bytes:
    """Encode one picture.

    Raises `TypeError` for what is no picture, `ValueError` for a wrong shape, NaN or values outside [0, 1].
    """
    if isinstance(image, bytes):
        if not image.startswith(PNG_SIGNATURE):
            raise ValueError("these bytes are not a PNG file")
        return image
    picture = image if isinstance(image, PILImage.Image) else PILImage.fromarray(_to_uint8(_to_numpy(image)))
    if picture.mode not in _PNG_MODES:
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=PNG_COMPRESS_LEVEL)
    return buffer.getvalue()


def is_batch(images: object) -> bool:
    """Whether this is one array or tensor [B, …] of several pictures rather than a sequence of them."""
    return getattr(images, "ndim", None) == 4


def _to_numpy(image: Any) -> npt.NDArray[Any]:
    if isinstance(image, np.ndarray):
        return image
    if hasattr(image, "detach"):  # a torch tensor; numpy knows no bfloat16, so widen first
        tensor = image.detach().cpu()
        array: npt.NDArray[Any] = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        return array
    raise TypeError(f"cannot make a picture of a {type(image).__name__}; see reward_client.images.Image")


def _to_uint8(pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """[H, W, 3] uint8 from itself or from float [3, H, W] in [0, 1]."""
    if pixels.dtype == np.uint8:
        if pixels.ndim != 3 or pixels.shape[2] != 3:
            raise ValueError(f"a uint8 picture has the shape [H, W, 3], not {list(pixels.shape)}")
        return np.ascontiguousarray(pixels)
    if not np.issubdtype(pixels.dtype, np.floating):
        raise ValueError(f"pixels are uint8 or floating point, not {pixels.dtype}")
    if pixels.ndim != 3 or pixels.shape[0] != 3:
        raise ValueError(f"a float picture has the shape [3, H, W], not {list(pixels.shape)}")
    if not np.isfinite(pixels).all():
        raise ValueError("the picture contains NaN or infinite values")
    low, high = float(pixels.min()), float(pixels.max())
    if low < -RANGE_TOLERANCE or high > 1.0 + RANGE_TOLERANCE:
        raise ValueError(f"float pixels lie in [0, 1], these in [{low:.3g}, {high:.3g}]; map [-1, 1] by x / 2 + 0.5")
    scaled = np.rint(np.clip(pixels.astype(np.float32), 0.0, 1.0) * 255.0)
    return np.ascontiguousarray(scaled.astype(np.uint8).transpose(1, 2, 0))
