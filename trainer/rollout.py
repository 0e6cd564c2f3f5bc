"""Sampling: from examples to candidates with everything that the update needs to know about how they came to be.

Shape suffixes: P groups, G candidates per group, B = P·G candidates (a group's candidates are neighbours), N tokens,
D channels, T denoising steps, S stochastic ones among them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.algorithms.sde import STEP_RULES, StepRule, Transition
from trainer.config import RolloutConfig
from trainer.data import Example, generator
from trainer.errors import TrainingDiverged
from trainer.policies.base import Conditioning, Policy


@dataclass(frozen=True, kw_only=True, slots=True)
class StochasticStep:
    """One denoising step as it was sampled: x' ~ N(mean, std²) given x."""

    index: int
    """Which denoising step, 0 … T−1."""
    latents_BND: Tensor
    """x, before the step."""
    next_latents_BND: Tensor
    """x', the sample whose log-probability is trained on."""
    mean_BND: Tensor
    """Mean of the policy that sampled."""
    std: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollout:
    """One micro-batch of candidates."""

    group_ids: tuple[str, ...]
    """P ids, unique in the run."""
    examples: tuple[Example, ...]
    """P examples."""
    conditioning: Conditioning
    """B rows."""
    steps: tuple[StochasticStep, ...]
    """S steps."""
    images_B3HW: Tensor
    """float32 in [0, 1], on the CPU."""

    @property
    def num_candidates(self) -> int:
        """B."""
        return int(self.images_B3HW.shape[0])


@torch.no_grad()
def sample_rollout(
    policy: Policy, examples: Sequence[Example], *, config: RolloutConfig, seed: int, step: int, first_group: int
) -> Rollout:
    """Sample G candidates for each of P examples in one batched forward per denoising step.

    All noise comes from (seed, step, group), so neither the micro-batching nor a restart changes a sample. Raises
    `TrainingDiverged` when an image is not finite.
    """
    groups = range(first_group, first_group + len(examples))
    generators = [generator(seed, "rollout", step, group) for group in groups]
    conditioning = policy.conditioning([example for example in examples for _ in range(config.candidates)])
    latents_BND = _initial_noise(policy, generators, config).to(policy.device)
    rule, window = STEP_RULES[config.step], stochastic_window(config, len(policy.sigmas) - 1, seed=seed, step=step)
    steps = []
    for index in range(len(policy.sigmas) - 1):
        eta = config.eta if index in window else 0.0
        transition = _transition(policy, rule, latents_BND, index, conditioning, eta)
        next_latents_BND = transition.mean_BND
        if transition.is_stochastic:
            noise_BND = _noise(generators, config.candidates, policy.latent_shape).to(policy.device)
            next_latents_BND = next_latents_BND + transition.std * noise_BND
            steps.append(
                StochasticStep(
                    index=index,
                    latents_BND=latents_BND,
                    next_latents_BND=next_latents_BND,
                    mean_BND=transition.mean_BND,
                    std=transition.std,
                )
            )
        latents_BND = next_latents_BND
    return Rollout(
        group_ids=tuple(f"{step}-{group}" for group in groups),
        examples=tuple(examples),
        conditioning=conditioning,
        steps=tuple(steps),
        images_B3HW=_images(policy, latents_BND),
    )


def stochastic_window(config: RolloutConfig, num_steps: int, *, seed: int, step: int) -> range:
    """Which of T denoising steps may be stochastic in this training step.

    One window for all groups, a function of (seed, step) alone: candidates that are compared, on whatever process and
    in whatever micro-batch, were sampled alike, and a micro-batch is updated in `window` forward passes. The last step
    is never stochastic.
    """
    stochastic = num_steps - 1
    width = stochastic if config.window is None else config.window
    first = int(torch.randint(stochastic - width + 1, (), generator=generator(seed, "window", step)))
    return range(first, first + width)


@torch.no_grad()
def sample_deterministic(policy: Policy, latents_BND: Tensor, conditioning: Conditioning) -> Tensor:
    """Images [B, 3, H, W] of the ordinary Euler sampler (η = 0), as the pipeline draws them after training.

    Raises `TrainingDiverged` when one is not finite.
    """
    rule = STEP_RULES["cps"]
    for index in range(len(policy.sigmas) - 1):
        latents_BND = _transition(policy, rule, latents_BND, index, conditioning, 0.0).mean_BND
    return _images(policy, latents_BND)


def mean_of_step(policy: Policy, step: StochasticStep, conditioning: Conditioning, config: RolloutConfig) -> Tensor:
    """Mean [B, N, D] of the present policy at a recorded step, with gradient: what the update differentiates."""
    rule = STEP_RULES[config.step]
    return _transition(policy, rule, step.latents_BND, step.index, conditioning, config.eta).mean_BND


def _images(policy: Policy, latents_BND: Tensor) -> Tensor:
    images_B3HW = policy.decode(latents_BND).cpu()
    if not bool(torch.isfinite(images_B3HW).all()):
        raise TrainingDiverged("the model draws images with NaN or infinite pixels")
    return images_B3HW


def _transition(
    policy: Policy, rule: StepRule, latents_BND: Tensor, index: int, conditioning: Conditioning, eta: float
) -> Transition:
    velocity_BND = policy.velocity(latents_BND, index, conditioning)
    return rule(latents_BND, velocity_BND, policy.sigmas[index], policy.sigmas[index + 1], eta)


def _initial_noise(policy: Policy, generators: Sequence[torch.Generator], config: RolloutConfig) -> Tensor:
    if not config.same_initial_noise:
        return _noise(generators, config.candidates, policy.latent_shape)
    return _noise(generators, 1, policy.latent_shape).repeat_interleave(config.candidates, dim=0)


def _noise(generators: Sequence[torch.Generator], num_candidates: int, shape: tuple[int, int]) -> Tensor:
    """Standard normal noise [P·G, N, D]; each group has its own generator."""
    return torch.cat([torch.randn((num_candidates, *shape), generator=source) for source in generators])
