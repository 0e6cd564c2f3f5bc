"""The architecture of the tiny SD3: every part that a StableDiffusion3Pipeline has, with random weights.

Owns sizes; training the parts is `pretrain`, storing them is `tiny_sd3`. Two CLIPs side by side, then a T5 twice as
wide; of the two transformer blocks, the first has the second attention of SD3.5-Medium.
"""

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from transformers import CLIPTextModelWithProjection

from arr.demo.shapes import RESOLUTION
from arr.demo.tiny_parts import (
    LATENT_CHANNELS,
    TEXT_WIDTH,
    autoencoder,
    clip_config,
    clip_tokenizer,
    t5,
    t5_tokenizer,
)


def random_sd3_pipeline(seed: int) -> StableDiffusion3Pipeline:
    """Put it together from randomly initialised parts, 1.5 M parameters, without touching the global RNG."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer, t5_words = clip_tokenizer(), t5_tokenizer()
        return StableDiffusion3Pipeline(
            transformer=_transformer(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
            vae=autoencoder(),
            text_encoder=CLIPTextModelWithProjection(clip_config(tokenizer)),
            tokenizer=tokenizer,
            text_encoder_2=CLIPTextModelWithProjection(clip_config(tokenizer)),
            tokenizer_2=tokenizer,
            text_encoder_3=t5(t5_words, width=2 * TEXT_WIDTH),
            tokenizer_3=t5_words,
        )


def _transformer() -> SD3Transformer2DModel:
    return SD3Transformer2DModel(
        sample_size=RESOLUTION // 8,
        patch_size=2,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_layers=2,
        num_attention_heads=3,
        attention_head_dim=32,
        joint_attention_dim=2 * TEXT_WIDTH,
        caption_projection_dim=96,
        pooled_projection_dim=2 * TEXT_WIDTH,
        pos_embed_max_size=8,
        qk_norm="rms_norm",
        dual_attention_layers=(0,),
    )
