"""The RPO objective as a pure function. Shape suffix: B candidates."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class LossInputs:
    """One denoising step of one micro-batch."""

    log_ratio_B: Tensor
    """log π/π_old, with gradient."""
    advantages_B: Tensor
    """0 where masked."""
    mask_B: Tensor
    """bool: which candidates count."""
    kl_B: Tensor | None
    """Exact KL to the reference, with gradient; None when it has no weight."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LossOutputs:
    """The loss to add up over an update, and sums to be averaged over it (all detached but the loss)."""

    loss: Tensor
    """Scalar; already divided by the update's normaliser."""
    clipped: int
    """Candidates whose ratio lies outside 1 ± ε."""
    kl_sum: float
    """Sum of the KL over counted candidates."""
    max_ratio_error: float
    """max |ratio − 1| over all candidates, masked ones too."""


def rpo_loss(inputs: LossInputs, *, clip_range: float, kl_weight: float, normaliser: int) -> LossOutputs:
    """Σ_B mask·(max(−A·r, −A·clip(r, 1−ε, 1+ε)) + β·KL) / normaliser (arXiv 2605.08354).

    `normaliser` is the number of (candidate, denoising step) pairs of the whole update, so that adding the losses of
    all its slices gives the mean, however it was sliced.
    """
    ratio_B = inputs.log_ratio_B.exp()
    clipped_B = ratio_B.clamp(1.0 - clip_range, 1.0 + clip_range)
    loss_B = torch.maximum(-inputs.advantages_B * ratio_B, -inputs.advantages_B * clipped_B)
    kl_sum = 0.0
    if inputs.kl_B is not None:
        loss_B = loss_B + kl_weight * inputs.kl_B
        kl_sum = float(inputs.kl_B.detach()[inputs.mask_B].sum())
    error_B = (ratio_B.detach() - 1.0).abs()
    return LossOutputs(
        loss=torch.where(inputs.mask_B, loss_B, 0.0).sum() / normaliser,
        clipped=int((error_B > clip_range)[inputs.mask_B].sum()),
        kl_sum=kl_sum,
        max_ratio_error=float(error_B.max()),
    )
