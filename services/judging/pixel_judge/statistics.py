"""Measures of the whole image that know nothing of its content, each 0 to 1, higher = more of what the name says.

Owns image statistics; what stands in front of what is `foreground`. Sharpness and noise look at native pixels, the rest
at any size.
"""

import numpy as np

from services.judging.pixel_judge.picture import Array, Picture

_FLAT_RANGE = 0.05
"""Below this range of values (0 to 1) an image has no edges to be sharp."""

_STRONG_CHROMA = 0.2
"""OKLab chroma of a saturated colour."""

_VISIBLE_NOISE = 0.02
"""Standard deviation, 0 to 1, at which noise halves the score: five grey levels of 255."""


def brightness(picture: Picture) -> float:
    """Mean OKLab lightness."""
    return float(np.clip(picture.lab[..., 0].mean(), 0, 1))


def contrast(picture: Picture) -> float:
    """Twice the standard deviation of luma: 1 for half black, half white."""
    return min(1.0, 2 * float(picture.luma.std()))


def colourfulness(picture: Picture) -> float:
    """Mean OKLab chroma, 1 for saturated colours everywhere."""
    return min(1.0, float(np.hypot(picture.lab[..., 1], picture.lab[..., 2]).mean()) / _STRONG_CHROMA)


def sharpness(picture: Picture) -> float:
    """Steepest steps between neighbours against the range of values: 1 when edges are one pixel wide."""
    rgb = picture.rgb
    low, high = np.percentile(rgb.reshape(-1, 3), (1, 99), axis=0)
    value_range = float((high - low).max())
    if value_range < _FLAT_RANGE:
        return 0.0
    red, green, blue = (_steps(rgb[..., channel]) for channel in range(3))
    steps = np.maximum(np.maximum(red, green), blue)
    num_edge_pixels = max(rgb.shape[:2])  # about the outline of something a quarter as wide as the image
    steepest = np.sort(steps)[-num_edge_pixels:]
    return min(1.0, float(steepest.mean()) / value_range)


def _steps(channel: Array) -> Array:
    """Absolute differences of all neighbours in [H, W], flat."""
    return np.concatenate([np.abs(np.diff(channel, axis=axis)).ravel() for axis in (0, 1)])


def freedom_from_noise(picture: Picture) -> float:
    """1 without pixel noise; the noise level is the median response of a Laplacian (after J. Immerkær, 1996)."""
    luma = picture.luma
    if min(luma.shape) < 3:
        return 1.0
    rows = luma[:-2] - 2 * luma[1:-1] + luma[2:]
    response = np.abs(rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:])
    noise = float(np.median(response)) / (0.6745 * 6)  # MAD of a normal variable; the filter's gain is 6
    return evenness(noise, _VISIBLE_NOISE)


def evenness(deviation: float, halving: float) -> float:
    """1 / (1 + (deviation/halving)²): 1 at 0, one half at `halving`."""
    return 1 / (1 + (deviation / halving) ** 2)
