"""Stochastic samplers for flow matching, their log-probabilities and KL.

Notation: s = sigma, from 1 (noise) to 0 (image); v = the model's output = ε − x0. Shape suffixes: B candidates, N
tokens, D channels of a latent. Everything here is float32 or wider; half-precision rounding of log-probabilities is a
bug, not a trade-off.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Transition:
    """The Gaussian x' ~ N(mean, std²) of one denoising step; std = 0 means the step is deterministic."""

    mean_BND: Tensor
    std: float

    @property
    def is_stochastic(self) -> bool:
        """Whether the step has a log-probability at all."""
        return self.std > 0.0


StepRule = Callable[[Tensor, Tensor, float, float, float], Transition]
"""(latents_BND, velocity_BND, sigma, sigma_next, eta) → the transition."""


def cps_transition(
    latents_BND: Tensor, velocity_BND: Tensor, sigma: float, sigma_next: float, eta: float
) -> Transition:
    """Coefficients-preserving sampling (arXiv 2509.05952): noise is swapped, never added.

    std = s'·sin(ηπ/2), mean = (1 − s')·x0 + √(s'² − std²)·x1 with x0 = x − s·v and x1 = x + (1 − s)·v, so that the
    total noise level after the step is exactly s'. The last step (s' = 0) is deterministic and equals "decode x0"; with
    η = 0 it is the ordinary Euler step.
    """
    denoised_BND = latents_BND - sigma * velocity_BND
    noise_BND = latents_BND + (1.0 - sigma) * velocity_BND
    std = sigma_next * math.sin(eta * math.pi / 2.0)
    kept_noise = sigma_next * math.cos(eta * math.pi / 2.0)  # = √(s'² − std²)
    return Transition(mean_BND=(1.0 - sigma_next) * denoised_BND + kept_noise * noise_BND, std=std)


def dance_transition(
    latents_BND: Tensor, velocity_BND: Tensor, sigma: float, sigma_next: float, eta: float
) -> Transition:
    """DanceGRPO's step (arXiv 2505.07818): the reverse SDE with a constant noise level σ = η, as in RPO's reference.

    The last step is deterministic: its noise would end up in the image.
    """
    return _sde_transition(latents_BND, velocity_BND, sigma, sigma_next, noise_level=eta)


def flow_transition(
    latents_BND: Tensor, velocity_BND: Tensor, sigma: float, sigma_next: float, eta: float
) -> Transition:
    """Flow-GRPO's step (arXiv 2505.05470): the reverse SDE with σ = η·√(s/(1 − s)).

    At s = 1, where that is infinite, the denominator takes the next sigma. The last step is deterministic.
    """
    denominator = 1.0 - (sigma if sigma < 1.0 else sigma_next)
    return _sde_transition(
        latents_BND, velocity_BND, sigma, sigma_next, noise_level=eta * math.sqrt(sigma / denominator)
    )


def _sde_transition(
    latents_BND: Tensor, velocity_BND: Tensor, sigma: float, sigma_next: float, *, noise_level: float
) -> Transition:
    """mean = x + [v + σ²/(2s)·(x + (1 − s)·v)]·dt, std = σ·√−dt with dt = s' − s < 0: the flow's own marginals."""
    if sigma_next == 0.0:
        return Transition(mean_BND=latents_BND - sigma * velocity_BND, std=0.0)
    dt = sigma_next - sigma
    noise_BND = latents_BND + (1.0 - sigma) * velocity_BND
    drift_BND = velocity_BND + noise_level**2 / (2.0 * sigma) * noise_BND
    return Transition(mean_BND=latents_BND + drift_BND * dt, std=noise_level * math.sqrt(-dt))


STEP_RULES: dict[str, StepRule] = {"cps": cps_transition, "dance": dance_transition, "flow": flow_transition}


Reduce = Literal["mean", "sum"]


def gaussian_log_prob(sample_BND: Tensor, mean_BND: Tensor, std: float, *, reduction: Reduce) -> Tensor:
    """Log density of N(mean, std²) at the sample, reduced over N and D → [B], float64.

    The definition; training uses `gaussian_log_ratio`, which loses no digits.
    """
    error_BND = sample_BND.double() - mean_BND.double()
    log_prob_BND = -(error_BND**2) / (2.0 * std**2) - math.log(std) - 0.5 * math.log(2.0 * math.pi)
    return _reduce(log_prob_BND, reduction)


def gaussian_log_ratio(
    sample_BND: Tensor, new_mean_BND: Tensor, old_mean_BND: Tensor, std: float, *, reduction: Reduce
) -> Tensor:
    """log N(x; new, std²) − log N(x; old, std²) → [B], float64, with gradient through the new mean.

    The difference is taken per dimension, (new − old)·(2x − new − old)/(2·std²), and only then reduced: subtracting two
    reduced log-probabilities loses the digits that matter, and equal means give exactly 0.
    """
    new, old, sample = new_mean_BND.double(), old_mean_BND.double(), sample_BND.double()
    return _reduce((new - old) * (2.0 * sample - new - old) / (2.0 * std**2), reduction)


def gaussian_kl(mean_BND: Tensor, reference_mean_BND: Tensor, std: float, *, reduction: Reduce) -> Tensor:
    """KL(N(mean, std²) ‖ N(reference, std²)) = (mean − reference)²/(2·std²) → [B], float64, with gradient."""
    return _reduce((mean_BND.double() - reference_mean_BND.double()) ** 2 / (2.0 * std**2), reduction)


def _reduce(values_BND: Tensor, reduction: Reduce) -> Tensor:
    values_BK = values_BND.flatten(start_dim=1)
    return values_BK.mean(dim=1) if reduction == "mean" else torch.sum(values_BK, dim=1)
