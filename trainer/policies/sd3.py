"""Stable Diffusion 3 and 3.5: exactly the conditioning that `StableDiffusion3Pipeline` feeds its transformer.

Classifier-free guidance is part of the policy: what is trained is the guided velocity, the one that draws the images
after training, too. `guidance_scale` ≤ 1 turns it off, as in the pipeline.

Shape suffixes: B candidates, N = H/8 · W/8 latent positions, D = 16 channels per position, L text tokens (those of both
CLIPs, then those of T5), E and C widths of the text and the pooled embeddings.
"""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import StableDiffusion3Pipeline
from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import calculate_shift
from torch import Tensor

from trainer.config import ModelConfig
from trainer.data import Example
from trainer.policies.adapted import AdaptedPolicy
from trainer.policies.encoded_examples import Encode, EncodedExamples, Encoders, TextConditioning
from trainer.policies.loading import load_pipeline

NEGATIVE = Example("")
"""What guidance leads away from, as in the pipeline where nobody names anything else."""


class Sd3Policy(AdaptedPolicy):
    """SD3 behind the `Policy` protocol; built by `load_sd3`."""

    def __init__(self, pipeline: Any, config: ModelConfig, encoded: EncodedExamples) -> None:
        super().__init__(pipeline, config, encoded)
        self._size = config.resolution // pipeline.vae_scale_factor  # latent height and width
        self.latent_shape = (self._size**2, pipeline.transformer.config.in_channels)
        self.sigmas, self._timesteps = _schedule(
            pipeline.scheduler,
            num_steps=config.num_inference_steps,
            num_tokens=(self._size // pipeline.transformer.config.patch_size) ** 2,
        )

    def conditioning(self, examples: Sequence[Example]) -> TextConditioning:
        """Conditioning of B examples. Raises `KeyError` for one that was not given to `load_sd3`."""
        return TextConditioning.of(self._encoded.rows(examples), device=self.device)

    def velocity(self, latents_BND: Tensor, step: int, conditioning: TextConditioning) -> Tensor:
        """See `Policy.velocity`. As in the pipeline, guidance is added up in the model's dtype."""
        latents = self._unpacked(latents_BND).to(conditioning.prompt_embeds_BLE.dtype)
        if not self._is_guided:
            return self._packed(self._predicted(latents, step, conditioning)).float()
        both = self._with_negative(conditioning)
        away, towards = self._predicted(torch.cat([latents] * 2), step, both).chunk(2)
        return self._packed(away + self._config.guidance_scale * (towards - away)).float()

    def decode(self, latents_BND: Tensor) -> Tensor:
        """See `Policy.decode`."""
        scale = self._pipeline.vae.config
        return self._decoded(self._unpacked(latents_BND) / scale.scaling_factor + scale.shift_factor)

    def pipeline_images(self, latents_BND: Tensor, conditioning: TextConditioning) -> Tensor:
        """See `Policy.pipeline_images`."""
        negative = self.conditioning([NEGATIVE] * len(latents_BND))
        return self._drawn(
            prompt_embeds=conditioning.prompt_embeds_BLE,
            pooled_prompt_embeds=conditioning.pooled_embeds_BC,
            negative_prompt_embeds=negative.prompt_embeds_BLE,
            negative_pooled_prompt_embeds=negative.pooled_embeds_BC,
            latents=self._unpacked(latents_BND).to(conditioning.prompt_embeds_BLE.dtype),
            guidance_scale=self._config.guidance_scale,
        )

    @property
    def _is_guided(self) -> bool:
        return self._config.guidance_scale > 1.0

    def _with_negative(self, conditioning: TextConditioning) -> TextConditioning:
        """2·B rows: those that guidance leads away from, then those it leads to."""
        negative = self.conditioning([NEGATIVE] * len(conditioning.pooled_embeds_BC))
        return TextConditioning(
            prompt_embeds_BLE=torch.cat([negative.prompt_embeds_BLE, conditioning.prompt_embeds_BLE]),
            pooled_embeds_BC=torch.cat([negative.pooled_embeds_BC, conditioning.pooled_embeds_BC]),
        )

    def _predicted(self, latents: Tensor, step: int, conditioning: TextConditioning) -> Tensor:
        """The transformer's output, [rows, D, H/8, W/8]."""
        return self.transformer(  # type: ignore[no-any-return]
            hidden_states=latents,
            timestep=self._timesteps[step].expand(len(latents)).to(latents.device),
            encoder_hidden_states=conditioning.prompt_embeds_BLE,
            pooled_projections=conditioning.pooled_embeds_BC,
            return_dict=False,
        )[0]

    def _unpacked(self, latents_BND: Tensor) -> Tensor:
        """[B, N, D] as the pipeline has it: [B, D, H/8, W/8]."""
        latents: Tensor = latents_BND.transpose(1, 2).unflatten(2, (self._size, self._size))
        return latents

    def _packed(self, latents: Tensor) -> Tensor:
        return latents.flatten(2).transpose(1, 2)


def load_sd3(
    config: ModelConfig,
    *,
    examples: Sequence[Example],
    device: torch.device,
    encoded: EncodedExamples | None = None,
) -> Sd3Policy:
    """Load an SD3 pipeline; the text encoders come and go before it, or not at all where `encoded` is given.

    The adapter is attached apart. Raises `ConfigError` when the path holds no SD3 pipeline.
    """
    if encoded is None:
        encoded = EncodedExamples.encode((*examples, NEGATIVE), load_sd3_encoders(config, device=device))
    pipeline = _load(config, device=device, without=SD3_ENCODERS.parts)
    return Sd3Policy(pipeline, config, encoded)


def load_sd3_encoders(config: ModelConfig, *, device: torch.device) -> Encode:
    """Load the text encoders alone. Raises `ConfigError` when the path holds no SD3 pipeline."""
    pipeline = _load(config, device=device, without=("transformer", "vae"))
    return lambda example: _encode(pipeline, example.prompt, config.max_sequence_length).as_row()


SD3_ENCODERS = Encoders(
    load=load_sd3_encoders,
    parts=("text_encoder", "text_encoder_2", "text_encoder_3", "tokenizer", "tokenizer_2", "tokenizer_3"),
    prompt_tokenizer="tokenizer_3",
    always=(NEGATIVE,),
)


def _load(config: ModelConfig, *, device: torch.device, without: Sequence[str]) -> Any:
    return load_pipeline(StableDiffusion3Pipeline, config, name="Stable Diffusion 3", device=device, without=without)


@torch.no_grad()
def _encode(pipeline: Any, prompt: str, max_sequence_length: int) -> TextConditioning:
    prompt_embeds_BLE, _, pooled_embeds_BC, _ = pipeline.encode_prompt(
        prompt=prompt,
        prompt_2=None,
        prompt_3=None,
        do_classifier_free_guidance=False,
        max_sequence_length=max_sequence_length,
    )
    return TextConditioning(prompt_embeds_BLE=prompt_embeds_BLE, pooled_embeds_BC=pooled_embeds_BC)


def _schedule(scheduler: Any, *, num_steps: int, num_tokens: int) -> tuple[tuple[float, ...], Tensor]:
    """The pipeline's own sigmas [T + 1] and timesteps [T], dynamic shift included."""
    config = scheduler.config
    if not config.get("use_dynamic_shifting"):
        scheduler.set_timesteps(num_steps)
    else:
        mu = calculate_shift(
            num_tokens,
            config.get("base_image_seq_len", 256),
            config.get("max_image_seq_len", 4096),
            config.get("base_shift", 0.5),
            config.get("max_shift", 1.16),
        )
        scheduler.set_timesteps(num_steps, mu=mu)
    return tuple(scheduler.sigmas.tolist()), scheduler.timesteps.clone()
