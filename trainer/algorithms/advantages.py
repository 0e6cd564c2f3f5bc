"""From rewards to advantages; what was not scored leaves the loss.

Shape suffixes: P prompts (groups), G candidates per prompt.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Baseline = Literal["none", "group"]
"""What is subtracted from a reward: nothing, or the mean of its group."""

Scale = Literal["none", "group", "batch"]
"""What it is divided by: nothing, the standard deviation of its group, or that of all centred rewards together."""

_FLAT = 1e-6
"""A group whose rewards differ by no more has nothing to tell its candidates apart."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Advantages:
    """Advantages and the mask of the candidates that have one."""

    values_PG: Tensor
    """float32; 0 where masked out."""
    mask_PG: Tensor
    """bool; False for every candidate of a group that is tied, failed or flat."""
    num_flat: int
    """Scored groups that left the loss because all their rewards are equal."""


def group_advantages(rewards_PG: Tensor, *, baseline: Baseline, scale: Scale, clip: float) -> Advantages:
    """Advantages of scored groups: (reward − baseline) / scale, clipped to ±`clip`.

    `rewards_PG` is float32 with NaN for candidates without a reward. A group with any NaN is masked as a whole: half a
    comparison is none, and no default ever stands in for a reward. Standard deviations are those of the numbers at hand
    (divided by G, not G − 1), as in GRPO (arXiv 2402.03300). Where there is a scale, a group of equal rewards is masked
    and counted instead of being divided by nothing.
    """
    scored_P = torch.isfinite(rewards_PG).all(dim=1)
    values_PG = torch.where(scored_P[:, None], rewards_PG, 0.0)
    flat_P = scored_P & (values_PG.amax(dim=1) - values_PG.amin(dim=1) <= _FLAT)
    counted_P = scored_P if scale == "none" else scored_P & ~flat_P
    if baseline == "group":
        values_PG = values_PG - values_PG.mean(dim=1, keepdim=True)
    values_PG = torch.where(counted_P[:, None], values_PG / _deviations(values_PG, counted_P, scale), 0.0)
    return Advantages(
        values_PG=values_PG.clamp(-clip, clip),
        mask_PG=counted_P[:, None].expand_as(rewards_PG).clone(),
        num_flat=int((scored_P & ~counted_P).sum()),
    )


def _deviations(values_PG: Tensor, counted_P: Tensor, scale: Scale) -> Tensor:
    """What each group is divided by, [P, 1]; 1 for groups that are not counted."""
    ones_P1 = torch.ones(len(values_PG), 1, dtype=values_PG.dtype)
    if scale == "none" or not bool(counted_P.any()):
        return ones_P1
    if scale == "group":
        deviation_P1 = values_PG.std(dim=1, correction=0, keepdim=True)
    else:
        deviation_P1 = values_PG[counted_P].std(correction=0) * ones_P1
    return torch.where(counted_P[:, None], deviation_P1, 1.0)
