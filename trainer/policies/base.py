"""What the loop needs from a model, and nothing else.

Shape suffixes: B candidates, N latent tokens, D channels per token, T denoising steps, H and W pixels.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

from trainer.data import Example

Conditioning: TypeAlias = Any
"""Encoded examples, one row per candidate. Opaque: only the policy that made it looks inside."""


class Policy(Protocol):
    """A generator whose adapter is trained. Latents are float32 outside of `velocity`."""

    transformer: torch.nn.Module
    """The denoiser that carries the adapter."""
    device: torch.device
    """Where it computes; latents live there."""
    latent_shape: tuple[int, int]
    """(N, D)."""
    sigmas: tuple[float, ...]
    """T + 1 noise levels, exactly the ones that the diffusers pipeline uses, from near 1 to 0."""

    def conditioning(self, examples: Sequence[Example]) -> Conditioning:
        """Conditioning of B examples, from the cache made at load time."""
        ...

    def velocity(self, latents_BND: Tensor, step: int, conditioning: Conditioning) -> Tensor:
        """The model's output ε − x0 at denoising step `step`, float32 [B, N, D]."""
        ...

    def decode(self, latents_BND: Tensor) -> Tensor:
        """Images of clean latents: float32 [B, 3, H, W] in [0, 1]."""
        ...

    def pipeline_images(self, latents_BND: Tensor, conditioning: Conditioning) -> Tensor:
        """What the untouched diffusers pipeline makes of the same starting noise: float32 [B, 3, H, W] in [0, 1]."""
        ...

    def adapter_off(self) -> AbstractContextManager[None]:
        """Within it, `velocity` is the base model's."""
        ...

    def adapter_state(self) -> dict[str, Tensor]:
        """A copy of the adapter's weights, by PEFT's own names."""
        ...

    def load_adapter_state(self, state: dict[str, Tensor]) -> None:
        """Put back what `adapter_state` gave. Raises `ValueError` when a key is missing or left over."""
        ...

    def save_for_diffusers(self, directory: Path) -> None:
        """Write `pytorch_lora_weights.safetensors` (with the adapter's α and rank) for `pipe.load_lora_weights`."""
        ...
