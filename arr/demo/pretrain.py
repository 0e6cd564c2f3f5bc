"""Pre-training of the tiny pipelines: first the autoencoder, then the transformer by flow matching.

Owns the recipe, and the deliberate mistake in it: captions are corrupted, so that the model draws clean shapes but
follows its prompt only part of the time, which leaves training with rewards something to do. What a transformer is fed
is `feeding`.

The one rule: all randomness comes from the seed, none from the global generators.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor

from arr.demo.feeding import NO_PROMPT, Feed
from arr.demo.shapes import DRAWINGS, Colour, Drawing, Shape, render
from arr.demo.stages import Progress


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Everything that decides the pre-trained weights, beside the seed."""

    vae_steps: int = 500
    vae_batch: int = 16
    vae_learning_rate: float = 4e-3
    mse_weight: float = 4.0
    """Weight of the squared error beside the absolute one; at 1 the decoder is slow to tell blue from purple."""
    kl_weight: float = 1e-3
    """Weight of the KL divergence per latent dimension."""
    flow_steps: int = 1000
    flow_batch: int = 64
    flow_learning_rate: float = 2e-3
    num_drawings: int = 3000
    """Size of the pool of renders that both parts are trained on."""
    wrong_colour: float = 0.42
    """Share of captions whose colour word is drawn anew from all five."""
    wrong_shape: float = 0.3
    """Share of captions whose shape word is drawn anew from all three."""
    prompt_dropout: float = 0.0
    """Share of captions that are left out, which teaches the model what classifier-free guidance leads away from."""


def pretrain(pipeline: Any, feed: Feed, *, recipe: Recipe, seed: int, progress: Progress) -> None:
    """Train the VAE and the transformer of a FLUX or SD3 pipeline in place; `feed` is that of its transformer."""
    rng = np.random.default_rng(seed)
    drawings = [DRAWINGS[index] for index in rng.integers(len(DRAWINGS), size=recipe.num_drawings)]
    images = as_model_input(np.stack([render(drawing, rng) for drawing in drawings]))
    train_vae(pipeline.vae, images, recipe=recipe, rng=rng, progress=progress)
    latents = feed.arranged(normalised_latents(pipeline.vae, images))
    train_transformer(pipeline, feed, latents, drawings, recipe=recipe, rng=rng, progress=progress)


def train_vae(
    vae: AutoencoderKL, images: Tensor, *, recipe: Recipe, rng: np.random.Generator, progress: Progress
) -> list[float]:
    """Fit the autoencoder to images [N, 3, 32, 32] in -1 to 1; returns the loss of every step.

    Loss: L1 + `mse_weight` × MSE of the reconstruction + `kl_weight` × KL divergence per latent dimension.
    """
    vae.train().to(memory_format=torch.channels_last)  # half the time per step on a CPU
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))

    def loss_of_batch() -> Tensor:
        batch = images[rng.integers(len(images), size=recipe.vae_batch)].contiguous(memory_format=torch.channels_last)
        posterior = vae.encode(batch).latent_dist
        reconstruction = vae.decode(posterior.sample(generator)).sample
        divergence = posterior.kl().mean() / posterior.mean[0].numel()
        error = F.l1_loss(reconstruction, batch) + recipe.mse_weight * F.mse_loss(reconstruction, batch)
        return cast(Tensor, error + recipe.kl_weight * divergence)

    losses = _fit(vae, loss_of_batch, _Stage("autoencoder", recipe.vae_steps, recipe.vae_learning_rate), progress)
    vae.eval().to(memory_format=torch.contiguous_format)
    return losses


def train_transformer(
    pipeline: Any,
    feed: Feed,
    latents: Tensor,
    drawings: Sequence[Drawing],
    *,
    recipe: Recipe,
    rng: np.random.Generator,
    progress: Progress,
) -> list[float]:
    """Fit the transformer by flow matching to latents as `feed` arranges them; returns the loss of every step.

    The target is the velocity ε − x0 at sigma, on x = (1 − sigma)·x0 + sigma·ε (rectified flow, arXiv 2209.03003).
    """
    transformer = pipeline.transformer.train()
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    shift = pipeline.scheduler.config.shift

    def loss_of_batch() -> Tensor:
        chosen = rng.integers(len(latents), size=recipe.flow_batch)
        captions = [caption(drawings[index], rng, recipe=recipe) for index in chosen]
        clean = latents[chosen]
        noise = torch.randn(clean.shape, generator=generator)
        uniform = torch.rand(len(chosen), generator=generator)
        sigma_B = shift * uniform / (1 + (shift - 1) * uniform)  # the density at which the scheduler places its steps
        mix = sigma_B.reshape(-1, *[1] * (clean.ndim - 1))
        velocity = feed.velocity((1 - mix) * clean + mix * noise, sigma_B, captions)
        return F.mse_loss(velocity, noise - clean)

    stage = _Stage("transformer", recipe.flow_steps, recipe.flow_learning_rate)
    losses = _fit(transformer, loss_of_batch, stage, progress)
    transformer.eval()
    return losses


def caption(drawing: Drawing, rng: np.random.Generator, *, recipe: Recipe) -> str:
    """What the model is told about a drawing: often something wrong, and sometimes nothing."""
    told = corrupted(drawing, rng, recipe=recipe).prompt
    return NO_PROMPT if recipe.prompt_dropout and rng.random() < recipe.prompt_dropout else told


def corrupted(drawing: Drawing, rng: np.random.Generator, *, recipe: Recipe) -> Drawing:
    """The drawing that a careless captioner reports: each word is drawn anew with the recipe's probability."""
    if rng.random() < recipe.wrong_colour:
        drawing = replace(drawing, colour=list(Colour)[rng.integers(len(Colour))])
    if rng.random() < recipe.wrong_shape:
        drawing = replace(drawing, shape=list(Shape)[rng.integers(len(Shape))])
    return drawing


def as_model_input(images: NDArray[np.uint8]) -> Tensor:
    """uint8 [N, 32, 32, 3] to float32 [N, 3, 32, 32] in -1 to 1."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def normalised_latents(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """Encode images: [N, 16, 4, 4].

    Sets the VAE's shift and scale such that these latents have mean 0 and standard deviation 1.
    """
    latents = torch.cat([vae.encode(chunk).latent_dist.mean for chunk in images.split(256)])
    shift, scale = latents.mean().item(), 1 / latents.std().item()
    vae.register_to_config(shift_factor=shift, scaling_factor=scale)
    return (latents - shift) * scale


class _Stage(NamedTuple):
    name: str
    steps: int
    learning_rate: float


def _fit(
    module: torch.nn.Module, loss_of_batch: Callable[[], Tensor], stage: _Stage, progress: Progress
) -> list[float]:
    """AdamW under a one-cycle learning rate that peaks at the stage's; returns the loss of every step."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=stage.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, stage.learning_rate, total_steps=stage.steps)
    losses = []
    for step in range(stage.steps):
        loss = loss_of_batch()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        progress(stage.name, step + 1, stage.steps)
    return losses
