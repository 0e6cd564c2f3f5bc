"""Z-Image: exactly the conditioning that `ZImagePipeline` feeds its transformer.

Two things are the other way round here: the transformer is told 1 − s for the noise level s, and answers x0 − ε. And
guidance adds to the prompt's own velocity: `guidance_scale` 0 turns it off, which is how Z-Image-Turbo draws.

Shape suffixes: B candidates, N = H/8 · W/8 latent positions, D = 16 channels per position, L text tokens (of one
prompt: nothing is padded) and E their width.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from diffusers import ZImagePipeline
from diffusers.pipelines.z_image.pipeline_z_image import calculate_shift, get_default_z_image_sigmas
from torch import Tensor

from trainer.config import ModelConfig
from trainer.data import Example
from trainer.policies.adapted import AdaptedPolicy
from trainer.policies.encoded_examples import Encode, EncodedExamples, Encoders, Row
from trainer.policies.loading import load_pipeline

PromptsLE: TypeAlias = list[Tensor]
"""B prompts, each of its own length."""

NEGATIVE = Example("")
"""What guidance leads away from, as in the pipeline where nobody names anything else."""


class ZImagePolicy(AdaptedPolicy):
    """Z-Image behind the `Policy` protocol; built by `load_z_image`."""

    def __init__(self, pipeline: Any, config: ModelConfig, encoded: EncodedExamples) -> None:
        super().__init__(pipeline, config, encoded)
        self._size = config.resolution // pipeline.vae_scale_factor  # latent height and width
        self.latent_shape = (self._size**2, pipeline.transformer.in_channels)
        self.sigmas, self._timesteps = _schedule(
            pipeline.scheduler, num_steps=config.num_inference_steps, num_tokens=(self._size // 2) ** 2
        )

    def conditioning(self, examples: Sequence[Example]) -> PromptsLE:
        """Conditioning of B examples. Raises `KeyError` for one that was not encoded."""
        return [row["prompt_embeds"].squeeze(0).to(self.device) for row in self._encoded.rows(examples)]

    def velocity(self, latents_BND: Tensor, step: int, conditioning: PromptsLE) -> Tensor:
        """See `Policy.velocity`. As in the pipeline, guidance is added up in float32."""
        latents = self._unpacked(latents_BND).to(conditioning[0].dtype)
        if not self._is_guided:
            return self._packed(-self._predicted(latents, step, conditioning))
        both = [*conditioning, *self.conditioning([NEGATIVE] * len(latents))]
        towards, away = self._predicted(torch.cat([latents] * 2), step, both).chunk(2)
        return self._packed(-(towards + self._config.guidance_scale * (towards - away)))

    def decode(self, latents_BND: Tensor) -> Tensor:
        """See `Policy.decode`."""
        vae = self._pipeline.vae
        latents = self._unpacked(latents_BND).to(vae.dtype) / vae.config.scaling_factor + vae.config.shift_factor
        return self._decoded(latents)

    def pipeline_images(self, latents_BND: Tensor, conditioning: PromptsLE) -> Tensor:
        """See `Policy.pipeline_images`."""
        return self._drawn(
            prompt_embeds=conditioning,
            negative_prompt_embeds=self.conditioning([NEGATIVE] * len(conditioning)),
            latents=self._unpacked(latents_BND),
            guidance_scale=self._config.guidance_scale,
        )

    @property
    def _is_guided(self) -> bool:
        return self._config.guidance_scale > 0.0

    def _predicted(self, latents: Tensor, step: int, prompts: PromptsLE) -> Tensor:
        """The transformer's output, float32 [rows, D, H/8, W/8]."""
        timestep = (1000 - self._timesteps[step].expand(len(latents)).to(latents.device)) / 1000
        outputs = self.transformer(list(latents.unsqueeze(2).unbind()), timestep, prompts, return_dict=False)[0]
        return torch.stack([output.float() for output in outputs]).squeeze(2)

    def _unpacked(self, latents_BND: Tensor) -> Tensor:
        """[B, N, D] as the pipeline has it: [B, D, H/8, W/8]."""
        latents: Tensor = latents_BND.transpose(1, 2).unflatten(2, (self._size, self._size))
        return latents

    def _packed(self, latents: Tensor) -> Tensor:
        return latents.flatten(2).transpose(1, 2)


def load_z_image(
    config: ModelConfig,
    *,
    examples: Sequence[Example],
    device: torch.device,
    encoded: EncodedExamples | None = None,
) -> ZImagePolicy:
    """Load a Z-Image pipeline; the text encoder comes and goes before it, or not at all where `encoded` is given.

    The adapter is attached apart. Raises `ConfigError` when the path holds no Z-Image pipeline.
    """
    if encoded is None:
        encoded = EncodedExamples.encode((*examples, NEGATIVE), load_z_image_encoders(config, device=device))
    return ZImagePolicy(_load(config, device=device, without=Z_IMAGE_ENCODERS.parts), config, encoded)


def load_z_image_encoders(config: ModelConfig, *, device: torch.device) -> Encode:
    """Load the text encoder alone. Raises `ConfigError` when the path holds no Z-Image pipeline."""
    pipeline = _load(config, device=device, without=("transformer", "vae"))
    return lambda example: _encode(pipeline, example.prompt, config.max_sequence_length)


Z_IMAGE_ENCODERS = Encoders(
    load=load_z_image_encoders,
    parts=("text_encoder", "tokenizer"),
    prompt_tokenizer="tokenizer",
    always=(NEGATIVE,),
)


def _load(config: ModelConfig, *, device: torch.device, without: Sequence[str]) -> Any:
    return load_pipeline(ZImagePipeline, config, name="Z-Image", device=device, without=without)


@torch.no_grad()
def _encode(pipeline: Any, prompt: str, max_sequence_length: int) -> Row:
    (prompt_embeds_LE,), _ = pipeline.encode_prompt(
        prompt, do_classifier_free_guidance=False, max_sequence_length=max_sequence_length
    )
    return {"prompt_embeds": prompt_embeds_LE.unsqueeze(0)}


def _schedule(scheduler: Any, *, num_steps: int, num_tokens: int) -> tuple[tuple[float, ...], Tensor]:
    """The pipeline's own sigmas [T + 1] and timesteps [T], dynamic shift included."""
    config = scheduler.config
    mu = calculate_shift(
        num_tokens,
        config.get("base_image_seq_len", 256),
        config.get("max_image_seq_len", 4096),
        config.get("base_shift", 0.5),
        config.get("max_shift", 1.15),
    )
    scheduler.set_timesteps(sigmas=get_default_z_image_sigmas(num_steps), mu=mu)
    return tuple(scheduler.sigmas.tolist()), scheduler.timesteps.clone()
