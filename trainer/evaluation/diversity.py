"""How different the images of one prompt are: a model that draws one picture per prompt has collapsed.

The measure is 1 − SSIM (Wang et al. 2004) between two images, meant over the pairs of a prompt. Of the measures that
need no weights it is the one that a tuned model cannot inflate by strong colours or contrast, which is what models are
often tuned to: SSIM divides by the variance of both pictures. Pixel distances grow with contrast, and distances between
latents also depend on the autoencoder. It compares layout and structure, not meaning, so it is read against the base
model's, on the same prompts and noises.

Shape suffixes: R prompts, C noises, K pairs, H and W pixels.
"""

from itertools import combinations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from trainer.records import Diversity

_PIXELS = 64
"""Longest side that images are reduced to: layout and shapes stay, texture goes."""

_WINDOW = 7
"""Side of the square that local statistics are taken over."""

_MEAN_CONSTANT, _VARIANCE_CONSTANT = 0.01**2, 0.03**2
"""C1 and C2 of the paper, for pixels in [0, 1]."""


def diversity(base_RC3HW: Tensor, tuned_RC3HW: Tensor) -> Diversity | None:
    """Of base and tuned images, uint8; None when there is only one image per prompt."""
    if base_RC3HW.shape[1] < 2:
        return None
    base_R, tuned_R = diversity_of_prompts(base_RC3HW), diversity_of_prompts(tuned_RC3HW)
    base, tuned = float(base_R.mean()), float(tuned_R.mean())
    return Diversity(base=base, tuned=tuned, relative=tuned / base if base > 0 else None, lowest=float(tuned_R.min()))


def diversity_of_prompts(images_RC3HW: Tensor) -> Tensor:
    """Mean of 1 − SSIM over all pairs of a prompt's images, [R]; 0 when they are all the same."""
    pairs = list(combinations(range(images_RC3HW.shape[1]), 2))
    first, second = (list(side) for side in zip(*pairs, strict=True))
    means = []
    for images_C3HW in images_RC3HW:
        small_C3HW = _reduced(images_C3HW.float() / 255)
        means.append(1 - ssim(small_C3HW[first], small_C3HW[second]).mean())
    return torch.stack(means)


def ssim(x_K3HW: Tensor, y_K3HW: Tensor) -> Tensor:
    """Structural similarity of K pairs of images in [0, 1], meant over pixels and channels, [K]; 1 = the same."""
    mean_x, mean_y = _local_mean(x_K3HW), _local_mean(y_K3HW)
    variance_x = _local_mean(x_K3HW**2) - mean_x**2
    variance_y = _local_mean(y_K3HW**2) - mean_y**2
    covariance = _local_mean(x_K3HW * y_K3HW) - mean_x * mean_y
    likeness = (2 * mean_x * mean_y + _MEAN_CONSTANT) * (2 * covariance + _VARIANCE_CONSTANT)
    size = (mean_x**2 + mean_y**2 + _MEAN_CONSTANT) * (variance_x + variance_y + _VARIANCE_CONSTANT)
    return (likeness / size).mean(dim=(1, 2, 3))


def _local_mean(values: Tensor) -> Tensor:
    return avg_pool2d(values, _WINDOW, stride=1)


def _reduced(images_C3HW: Tensor) -> Tensor:
    height, width = images_C3HW.shape[-2:]
    scale = _PIXELS / max(height, width)
    if scale >= 1:
        return images_C3HW
    size = (max(_WINDOW, round(height * scale)), max(_WINDOW, round(width * scale)))
    return interpolate(images_C3HW, size=size, mode="area")
