"""A diffusers pipeline with an adapter on its transformer: what is the same for every model.

What the transformer is fed, what its answer means, and how latents are scaled for the decoder is a model's own, and
stands in its file.
"""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainer.config import ModelConfig
from trainer.policies import lora
from trainer.policies.encoded_examples import EncodedExamples


class AdaptedPolicy:
    """The part of a `Policy` that no model does its own way."""

    def __init__(self, pipeline: Any, config: ModelConfig, encoded: EncodedExamples) -> None:
        self.transformer: nn.Module = pipeline.transformer
        self.device: torch.device = pipeline.transformer.device
        self._pipeline = pipeline
        self._config = config
        self._encoded = encoded

    def adapter_off(self) -> AbstractContextManager[None]:
        """See `Policy.adapter_off`."""
        return lora.adapter_off(self.transformer)

    def adapter_state(self) -> dict[str, Tensor]:
        """See `Policy.adapter_state`."""
        return lora.adapter_state(self.transformer)

    def load_adapter_state(self, state: dict[str, Tensor]) -> None:
        """See `Policy.load_adapter_state`."""
        lora.load_adapter_state(self.transformer, state)

    def save_for_diffusers(self, directory: Path) -> None:
        """See `Policy.save_for_diffusers`."""
        self._pipeline.save_lora_weights(
            directory,
            transformer_lora_layers=self.adapter_state(),
            transformer_lora_adapter_metadata=lora.peft_config(self.transformer).to_dict(),
        )

    @torch.no_grad()
    def _decoded(self, latents: Tensor) -> Tensor:
        """Images of latents that are scaled for the autoencoder: float32 [B, 3, H, W] in [0, 1]."""
        vae = self._pipeline.vae
        images = vae.decode(latents.to(vae.dtype), return_dict=False)[0]
        return self._pipeline.image_processor.postprocess(images, output_type="pt").float()  # type: ignore[no-any-return]

    def _drawn(self, **arguments: Any) -> Tensor:
        """What the pipeline draws at the recipe's size and number of steps: float32 [B, 3, H, W] in [0, 1]."""
        images = self._pipeline(
            **arguments,
            height=self._config.resolution,
            width=self._config.resolution,
            num_inference_steps=self._config.num_inference_steps,
            output_type="pt",
        ).images
        return images.float()  # type: ignore[no-any-return]
