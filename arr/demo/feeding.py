"""How the tiny transformers are fed: FLUX and SD3 behind one small protocol, so that one recipe pre-trains both.

Owns what each model reads beside the noisy latents, in the layout and the units that its pipeline uses. Prompts are
encoded once: the text encoders are frozen.
"""

from collections.abc import Sequence
from typing import Any, Protocol, cast

import torch
from diffusers import FluxPipeline, StableDiffusion3Pipeline
from torch import Tensor

from arr.demo.shapes import PROMPTS
from arr.demo.tiny_parts import MAX_SEQUENCE_LENGTH

FLUX_GUIDANCE_SCALE = 3.5
"""The only guidance the tiny FLUX is trained with."""

NO_PROMPT = ""
"""What classifier-free guidance leads away from."""


class Feed(Protocol):
    """A transformer under pre-training."""

    def arranged(self, latents: Tensor) -> Tensor:
        """Latents [B, 16, 4, 4] in the transformer's own layout."""
        ...

    def velocity(self, noisy: Tensor, sigma_B: Tensor, captions: Sequence[str]) -> Tensor:
        """What the transformer answers to arranged latents at noise levels sigma, in the same layout."""
        ...


class FluxFeed:
    """Packed latents [B, 4, 64], positions of text and image, timesteps from 0 to 1, one distilled guidance."""

    def __init__(self, pipeline: FluxPipeline) -> None:
        self._transformer = pipeline.transformer
        self._rows = {prompt: row for row, prompt in enumerate(PROMPTS)}
        self._image_ids = FluxPipeline._prepare_latent_image_ids(1, 2, 2, torch.device("cpu"), torch.float32)
        with torch.no_grad():
            self._tokens, self._pooled, self._text_ids = pipeline.encode_prompt(
                list(PROMPTS), prompt_2=None, max_sequence_length=MAX_SEQUENCE_LENGTH
            )

    def arranged(self, latents: Tensor) -> Tensor:
        """See `Feed.arranged`."""
        return cast(Tensor, FluxPipeline._pack_latents(latents, *latents.shape))

    def velocity(self, noisy: Tensor, sigma_B: Tensor, captions: Sequence[str]) -> Tensor:
        """See `Feed.velocity`."""
        rows = [self._rows[caption] for caption in captions]
        return _answer(
            self._transformer(
                hidden_states=noisy,
                timestep=sigma_B,
                guidance=torch.full((len(rows),), FLUX_GUIDANCE_SCALE),
                encoder_hidden_states=self._tokens[rows],
                pooled_projections=self._pooled[rows],
                txt_ids=self._text_ids,
                img_ids=self._image_ids,
                return_dict=False,
            )
        )


class Sd3Feed:
    """Latents [B, 16, 4, 4] as they are, timesteps from 0 to 1000, and a row for no prompt at all."""

    def __init__(self, pipeline: StableDiffusion3Pipeline) -> None:
        self._transformer = pipeline.transformer
        prompts = (*PROMPTS, NO_PROMPT)
        self._rows = {prompt: row for row, prompt in enumerate(prompts)}
        with torch.no_grad():
            self._tokens, _, self._pooled, _ = pipeline.encode_prompt(
                prompt=list(prompts),
                prompt_2=None,
                prompt_3=None,
                do_classifier_free_guidance=False,
                max_sequence_length=MAX_SEQUENCE_LENGTH,
            )

    def arranged(self, latents: Tensor) -> Tensor:
        """See `Feed.arranged`."""
        return latents

    def velocity(self, noisy: Tensor, sigma_B: Tensor, captions: Sequence[str]) -> Tensor:
        """See `Feed.velocity`."""
        rows = [self._rows[caption] for caption in captions]
        return _answer(
            self._transformer(
                hidden_states=noisy,
                timestep=1000 * sigma_B,
                encoder_hidden_states=self._tokens[rows],
                pooled_projections=self._pooled[rows],
                return_dict=False,
            )
        )


def _answer(output: Any) -> Tensor:
    """The only item of what diffusers' transformers return without `return_dict`."""
    return cast(Tensor, output[0])
