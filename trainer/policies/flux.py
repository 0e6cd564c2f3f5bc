"""FLUX.1: exactly the conditioning that `FluxPipeline` feeds its transformer.

Shape suffixes: B candidates, N latent tokens (H/16 · W/16), D = 64 channels per token, L text tokens, E and C widths of
the T5 and CLIP embeddings.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers import FluxPipeline
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from torch import Tensor

from trainer.config import ModelConfig
from trainer.data import Example
from trainer.policies.adapted import AdaptedPolicy
from trainer.policies.encoded_examples import Encode, EncodedExamples, Encoders, TextConditioning
from trainer.policies.loading import load_pipeline


class FluxPolicy(AdaptedPolicy):
    """FLUX.1 behind the `Policy` protocol; built by `load_flux`."""

    def __init__(self, pipeline: Any, config: ModelConfig, encoded: EncodedExamples) -> None:
        super().__init__(pipeline, config, encoded)
        self._size = config.resolution // pipeline.vae_scale_factor  # latent height and width before packing
        tokens_per_side = self._size // 2
        self.latent_shape = (tokens_per_side**2, pipeline.transformer.config.in_channels)
        self.sigmas, self._timesteps = _schedule(
            pipeline.scheduler, num_steps=config.num_inference_steps, num_tokens=self.latent_shape[0]
        )

    def conditioning(self, examples: Sequence[Example]) -> TextConditioning:
        """Conditioning of B examples. Raises `KeyError` for one that was not given to `load_flux`."""
        return TextConditioning.of(self._encoded.rows(examples), device=self.device)

    def velocity(self, latents_BND: Tensor, step: int, conditioning: TextConditioning) -> Tensor:
        """See `Policy.velocity`. As in the pipeline, the timestep is rounded to the model's dtype, then divided."""
        dtype = conditioning.prompt_embeds_BLE.dtype
        batch = latents_BND.shape[0]
        timestep_B = self._timesteps[step].expand(batch).to(latents_BND.device, dtype) / 1000
        velocity_BND = self.transformer(
            hidden_states=latents_BND.to(dtype),
            timestep=timestep_B,
            guidance=self._guidance(batch),
            pooled_projections=conditioning.pooled_embeds_BC,
            encoder_hidden_states=conditioning.prompt_embeds_BLE,
            txt_ids=torch.zeros(conditioning.prompt_embeds_BLE.shape[1], 3, device=latents_BND.device, dtype=dtype),
            img_ids=FluxPipeline._prepare_latent_image_ids(
                batch, self._size // 2, self._size // 2, latents_BND.device, dtype
            ),
            return_dict=False,
        )[0]
        return velocity_BND.float()  # type: ignore[no-any-return]

    def decode(self, latents_BND: Tensor) -> Tensor:
        """See `Policy.decode`."""
        scale, pixels = self._pipeline.vae.config, self._config.resolution
        latents = FluxPipeline._unpack_latents(latents_BND, pixels, pixels, self._pipeline.vae_scale_factor)
        return self._decoded(latents / scale.scaling_factor + scale.shift_factor)

    def pipeline_images(self, latents_BND: Tensor, conditioning: TextConditioning) -> Tensor:
        """See `Policy.pipeline_images`."""
        return self._drawn(
            prompt_embeds=conditioning.prompt_embeds_BLE,
            pooled_prompt_embeds=conditioning.pooled_embeds_BC,
            latents=latents_BND.to(conditioning.prompt_embeds_BLE.dtype),
            guidance_scale=self._config.guidance_scale,
        )

    def _guidance(self, batch: int) -> Tensor | None:
        if not self._pipeline.transformer.config.guidance_embeds:
            return None
        return torch.full([batch], self._config.guidance_scale, device=self.device, dtype=torch.float32)


def load_flux(
    config: ModelConfig,
    *,
    examples: Sequence[Example],
    device: torch.device,
    encoded: EncodedExamples | None = None,
) -> FluxPolicy:
    """Load a FLUX.1 pipeline; the text encoders come and go before it, or not at all where `encoded` is given.

    The adapter is attached apart. Raises `ConfigError` when the path holds no FLUX pipeline.
    """
    if encoded is None:
        encoded = EncodedExamples.encode(examples, load_flux_encoders(config, device=device))
    pipeline = load_pipeline(FluxPipeline, config, name="FLUX", device=device, without=FLUX_ENCODERS.parts)
    return FluxPolicy(pipeline, config, encoded)


def load_flux_encoders(config: ModelConfig, *, device: torch.device) -> Encode:
    """Load the text encoders alone. Raises `ConfigError` when the path holds no FLUX pipeline."""
    pipeline = load_pipeline(FluxPipeline, config, name="FLUX", device=device, without=("transformer", "vae"))
    return lambda example: _encode(pipeline, example.prompt, config.max_sequence_length).as_row()


FLUX_ENCODERS = Encoders(
    load=load_flux_encoders,
    parts=("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"),
    prompt_tokenizer="tokenizer_2",
)


@torch.no_grad()
def _encode(pipeline: Any, prompt: str, max_sequence_length: int) -> TextConditioning:
    prompt_embeds_BLE, pooled_embeds_BC, _ = pipeline.encode_prompt(
        prompt=prompt, prompt_2=None, max_sequence_length=max_sequence_length
    )
    return TextConditioning(prompt_embeds_BLE=prompt_embeds_BLE, pooled_embeds_BC=pooled_embeds_BC)


def _schedule(scheduler: Any, *, num_steps: int, num_tokens: int) -> tuple[tuple[float, ...], Tensor]:
    """The pipeline's own sigmas [T + 1] and timesteps [T], dynamic shift included."""
    config = scheduler.config
    sigmas = None if config.get("use_flow_sigmas") else np.linspace(1.0, 1.0 / num_steps, num_steps)
    mu = calculate_shift(
        num_tokens,
        config.get("base_image_seq_len", 256),
        config.get("max_image_seq_len", 4096),
        config.get("base_shift", 0.5),
        config.get("max_shift", 1.15),
    )
    if sigmas is None:
        scheduler.set_timesteps(num_steps, mu=mu)
    else:
        scheduler.set_timesteps(sigmas=sigmas, mu=mu)
    return tuple(scheduler.sigmas.tolist()), scheduler.timesteps.clone()
