"""From rewards to advantages; what was not scored leaves the loss.

Shape suffixes: P prompts (groups), G candidates per prompt.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Advantages:
    """Advantages and the mask of the candidates that have one."""

    values_PG: Tensor
    """float32; 0 where masked out."""
    mask_PG: Tensor
    """bool; False for every candidate of a tied or failed group."""


def group_advantages(rewards_PG: Tensor, *, centre: bool, clip: float) -> Advantages:
    """Advantages of scored groups: the reward, minus the group's mean if `centre`, clipped to ±`clip`.

    `rewards_PG` is float32 with NaN for candidates without a reward. A group with any NaN is masked as a whole: half a
    comparison is none, and no default ever stands in for a reward.
    """
    scored_P = torch.isfinite(rewards_PG).all(dim=1)
    values_PG = torch.where(scored_P[:, None], rewards_PG, 0.0)
    if centre:
        values_PG = values_PG - values_PG.mean(dim=1, keepdim=True)
    return Advantages(values_PG=values_PG.clamp(-clip, clip), mask_PG=scored_P[:, None].expand_as(rewards_PG).clone())
