"""The gradient of the RPO loss over a step's rollouts, in the slices they were sampled in.

Shape suffixes: B candidates of one rollout, N tokens, D channels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trainer.algorithms.advantages import Advantages
from trainer.algorithms.losses import LossInputs, rpo_loss
from trainer.algorithms.sde import gaussian_kl, gaussian_log_ratio
from trainer.config import LossConfig, TrainConfig
from trainer.policies.base import Policy
from trainer.records import UpdateRecord
from trainer.rollout import Rollout, StochasticStep, mean_of_step


def nothing_learned(advantages: Advantages) -> UpdateRecord:
    """The record of a step in which no group counted."""
    return UpdateRecord(
        loss=0.0,
        grad_norm=0.0,
        clipped_fraction=0.0,
        max_ratio_error=0.0,
        kl=None,
        num_flat=advantages.num_flat,
        skipped=True,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateLosses:
    """What the slices of one update came to, on one process or on all."""

    loss: float
    """Their part of the mean."""
    clipped: int
    kl_sum: float
    max_ratio_error: float
    num_counted: int
    """(candidate, denoising step) pairs of groups that count, in the whole update."""
    num_flat: int
    """Scored groups that do not, in the whole update."""
    has_kl: bool

    @classmethod
    def total(cls, parts: Sequence["UpdateLosses"]) -> "UpdateLosses":
        """Those of all processes as one."""
        return replace(
            parts[0],
            loss=sum(part.loss for part in parts),
            clipped=sum(part.clipped for part in parts),
            kl_sum=sum(part.kl_sum for part in parts),
            max_ratio_error=max(part.max_ratio_error for part in parts),
        )

    def record(self, grad_norm: float) -> UpdateRecord:
        """Summarise for the log."""
        return UpdateRecord(
            loss=self.loss,
            grad_norm=grad_norm,
            clipped_fraction=self.clipped / self.num_counted,
            max_ratio_error=self.max_ratio_error,
            kl=self.kl_sum / self.num_counted if self.has_kl else None,
            num_flat=self.num_flat,
            skipped=False,
        )


Share = Callable[[Sequence[Tensor]], Sequence[Tensor]]


def _all(items: Sequence[Tensor]) -> Sequence[Tensor]:
    return items


def backward_rpo(
    policy: Policy,
    rollouts: Sequence[Rollout],
    advantages: Advantages,
    *,
    num_judged: int,
    config: TrainConfig,
    backward: Callable[[Tensor], None],
    share: Share = _all,
) -> UpdateLosses | None:
    """Accumulate the gradient of the mean loss over all (candidate, denoising step) pairs of judged groups.

    `num_judged` counts scored and tied groups. A tie adds nothing to the sum but counts in the mean, as a comparison
    that favours neither candidate does; otherwise a step with two scored groups out of thirty-two would move the model
    as far as one with thirty, on a fraction of the evidence. Failed groups count nowhere. Returns None, and touches no
    gradient, when no group was scored.

    `advantages` and `num_judged` are those of the whole step; of its micro-batches, all of a size, `rollouts` holds
    those that `share` leaves, the ones of this process. Gradients added up over processes are those of one.
    """
    num_steps = len(rollouts[0].steps)
    num_counted = int(advantages.mask_PG.sum()) * num_steps
    if num_counted == 0:
        return None
    normaliser = num_judged * advantages.mask_PG.shape[1] * num_steps
    size = rollouts[0].num_candidates
    slices = zip(
        rollouts,
        share(torch.split(advantages.values_PG.flatten(), size)),
        share(torch.split(advantages.mask_PG.flatten(), size)),
        strict=True,
    )
    outputs = []
    for rollout, advantages_B, mask_B in slices:
        for step in rollout.steps:
            inputs = _loss_inputs(policy, rollout, step, advantages_B, mask_B, config=config)
            output = rpo_loss(
                inputs, clip_range=config.loss.clip_range, kl_weight=config.loss.kl_weight, normaliser=normaliser
            )
            backward(output.loss)
            outputs.append(output)
    return UpdateLosses(
        loss=sum(float(output.loss.detach()) for output in outputs),
        clipped=sum(output.clipped for output in outputs),
        kl_sum=sum(output.kl_sum for output in outputs),
        max_ratio_error=max(output.max_ratio_error for output in outputs),
        num_counted=num_counted,
        num_flat=advantages.num_flat,
        has_kl=config.loss.kl_weight > 0,
    )


def _loss_inputs(
    policy: Policy, rollout: Rollout, step: StochasticStep, advantages_B: Tensor, mask_B: Tensor, *, config: TrainConfig
) -> LossInputs:
    reduction, device = config.loss.reduction, step.mean_BND.device
    mean_BND = mean_of_step(policy, step, rollout.conditioning, config.rollout)
    kl_B = None
    if config.loss.kl_weight > 0:
        with torch.no_grad(), policy.adapter_off():
            reference_BND = mean_of_step(policy, step, rollout.conditioning, config.rollout)
        kl_B = _kl(step, mean_BND, reference_BND, config=config.loss)
    return LossInputs(
        log_ratio_B=gaussian_log_ratio(step.next_latents_BND, mean_BND, step.mean_BND, step.std, reduction=reduction),
        advantages_B=advantages_B.to(device),
        mask_B=mask_B.to(device),
        kl_B=kl_B,
    )


def _kl(step: StochasticStep, mean_BND: Tensor, reference_BND: Tensor, *, config: LossConfig) -> Tensor:
    """What β weighs, [B]. Of the two only the exact KL pulls: E[∇ log p] = 0 under p."""
    if config.kl == "log_ratio":
        return gaussian_log_ratio(step.next_latents_BND, mean_BND, reference_BND, step.std, reduction=config.reduction)
    return gaussian_kl(mean_BND, reference_BND, step.std, reduction=config.reduction)
