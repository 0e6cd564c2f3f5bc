"""The architecture of the tiny FLUX: every part that a FluxPipeline has, with random weights.

Owns sizes and tokenizers; training the parts is `pretrain`, storing them is `tiny_flux`.

The one rule: FLUX's geometry is kept (16 latent channels, 8× smaller, 2×2 packing, distilled guidance), so that code
written for the real model runs unchanged.
"""

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from transformers import CLIPTextModel

from arr.demo.tiny_parts import LATENT_CHANNELS, TEXT_WIDTH, autoencoder, clip_config, clip_tokenizer, t5, t5_tokenizer


def random_pipeline(seed: int) -> FluxPipeline:
    """Put a FluxPipeline together from randomly initialised parts, 1 M parameters, without touching the global RNG."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first_tokenizer, second_tokenizer = clip_tokenizer(), t5_tokenizer()
        return FluxPipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=False),
            vae=autoencoder(),
            text_encoder=CLIPTextModel(clip_config(first_tokenizer)).eval().requires_grad_(False),
            tokenizer=first_tokenizer,
            text_encoder_2=t5(second_tokenizer),
            tokenizer_2=second_tokenizer,
            transformer=_transformer(),
        )


def _transformer() -> FluxTransformer2DModel:
    return FluxTransformer2DModel(
        in_channels=4 * LATENT_CHANNELS,
        num_layers=1,
        num_single_layers=2,
        num_attention_heads=3,
        attention_head_dim=32,
        axes_dims_rope=(8, 12, 12),
        joint_attention_dim=TEXT_WIDTH,
        pooled_projection_dim=TEXT_WIDTH,
        guidance_embeds=True,
    )
