"""What a generator's decoder makes of a drawing: a pass through the pipeline's autoencoder."""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from arr.demo.ground_truth import Redraw
from arr.demo.pretrain import as_model_input
from arr.demo.shapes import Pixels


def redraw_with(model: Path) -> Redraw:
    """A function that encodes and decodes uint8 images [N, 32, 32, 3] with the autoencoder of a saved pipeline."""
    vae = AutoencoderKL.from_pretrained(model, subfolder="vae").eval()

    @torch.no_grad()
    def redraw(images: Pixels) -> Pixels:
        batches = as_model_input(images).split(256)
        decoded = torch.cat([vae.decode(vae.encode(batch).latent_dist.mean).sample for batch in batches])
        pixels = ((decoded.clamp(-1, 1) + 1) * 127.5).round().byte()
        return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).numpy())

    return redraw
