"""The fixed grid of (example, noise) that every evaluation draws, and its images.

Shape suffixes: B images, H and W pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.config import EvaluationConfig
from trainer.data import Example, generator
from trainer.policies.base import Policy
from trainer.rollout import sample_deterministic


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One fixed (example, noise)."""

    example: Example
    noise: int
    is_held_out: bool


def sample_grid(examples: Sequence[Example], trained: Sequence[Example], config: EvaluationConfig) -> list[Sample]:
    """One row per example, one column per noise, row by row."""
    seen = set(trained)
    return [
        Sample(example=example, noise=noise, is_held_out=example not in seen)
        for example in examples
        for noise in range(config.images_per_prompt)
    ]


@torch.no_grad()
def draw(policy: Policy, samples: Sequence[Sample], *, seed: int) -> Tensor:
    """Images of the policy as it is, in one forward pass per denoising step: [B, 3, H, W] float32 on the CPU."""
    noises = torch.stack([_noise(policy, sample, seed) for sample in samples]).to(policy.device)
    conditioning = policy.conditioning([sample.example for sample in samples])
    return sample_deterministic(policy, noises, conditioning)


def _noise(policy: Policy, sample: Sample, seed: int) -> Tensor:
    """Standard normal [N, D]; the same for every prompt, so that a column of the grid shares its noise."""
    source = generator(seed, "evaluation", sample.noise)
    return torch.randn(policy.latent_shape, generator=source)


def batches(num_samples: int, *, num_processes: int, largest: int) -> list[range]:
    """Positions of the samples that go into one forward pass and one request, so that every process has some."""
    size = max(1, min(largest, math.ceil(num_samples / num_processes)))
    return [range(first, min(first + size, num_samples)) for first in range(0, num_samples, size)]
