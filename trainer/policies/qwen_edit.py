"""What Qwen-Image-Edit and Qwen-Image-Edit-2509 have in common: all but how source images are brought to the encoders.

The transformer sees the noisy latents and, behind them, the latents of the sources. True classifier-free guidance is
part of the policy: what is trained is the guided velocity, rescaled as in the pipelines. The negative prompt is encoded
with the same sources, so it is a part of every row. `true_cfg_scale` ≤ 1 turns guidance off.

Sources keep their shape, at 1024² pixels or nearly so; the edit is drawn at `resolution` × `resolution`. The pipelines
take examples one by one; here, candidates whose sources have equal shapes share a forward pass, and those of other
shapes in the same batch have their own, since rotary embeddings are those of one shape.

Shape suffixes: B candidates, N latent tokens, D = 64 channels per token, M tokens of the sources, L text tokens and E
their width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
import torch
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit import calculate_shift
from PIL.Image import Image
from torch import Tensor

from trainer.config import ModelConfig
from trainer.data import Example, open_source
from trainer.errors import ConfigError
from trainer.policies.adapted import AdaptedPolicy
from trainer.policies.encoded_examples import EncodedExamples, Row

SourceShapes: TypeAlias = tuple[tuple[int, int], ...]
"""Tokens per column and per row of each source of an example."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BroughtSources:
    """An example's sources, as its pipeline resizes them."""

    seen: Any
    """For the vision-language encoder."""
    pixels: Sequence[Tensor]
    """For the autoencoder: each [1, 3, 1, height, width] in [−1, 1]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EditFamily:
    """What one of the pipelines does its own way."""

    name: str
    """What people call the model."""
    pipeline_class: Any
    bring: Callable[[Any, Sequence[Image]], BroughtSources]
    """Of the pipeline and an example's sources."""
    image_argument: Callable[[Sequence[Image]], Any]
    """What the pipeline takes as `image`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PaddedText:
    """B encoded texts of different lengths."""

    embeds_BLE: Tensor
    mask_BL: Tensor | None
    """True where there is text; none where all of it is, as in the pipelines."""

    @classmethod
    def of(cls, embeds_1LE: Sequence[Tensor], *, device: torch.device) -> Self:
        """Pad to the longest."""
        texts = [embeds.squeeze(0) for embeds in embeds_1LE]
        lengths = torch.tensor([len(text) for text in texts])
        mask_BL = torch.arange(int(lengths.max())) < lengths[:, None]
        padded = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True)
        return cls(embeds_BLE=padded.to(device), mask_BL=None if bool(mask_BL.all()) else mask_BL.to(device))


@dataclass(frozen=True, kw_only=True, slots=True)
class EqualSources:
    """Candidates of a batch whose sources have equal shapes: what one forward pass is conditioned on."""

    positions_B: Tensor
    """Where in the batch they are."""
    prompt: PaddedText
    negative: PaddedText | None
    """None without guidance."""
    source_latents_BMD: Tensor
    source_shapes: SourceShapes

    @classmethod
    def of(cls, rows: Sequence[Row], positions: Sequence[int], *, is_guided: bool, device: torch.device) -> Self:
        """Put rows of equal `source_shapes` together."""

        def text(name: str) -> PaddedText:
            return PaddedText.of([row[name] for row in rows], device=device)

        return cls(
            positions_B=torch.tensor(positions, device=device),
            prompt=text("prompt_embeds"),
            negative=text("negative_embeds") if is_guided else None,
            source_latents_BMD=torch.cat([row["source_latents"] for row in rows]).to(device),
            source_shapes=_source_shapes(rows[0]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class EditConditioning:
    """B encoded examples."""

    examples: tuple[Example, ...]
    rows: tuple[Row, ...]
    """On the CPU, as they were encoded."""
    parts: tuple[EqualSources, ...]


class QwenEditPolicy(AdaptedPolicy):
    """Either of them behind the `Policy` protocol; built by `load_qwen_image_edit` and `load_qwen_image_edit_plus`."""

    def __init__(self, pipeline: Any, config: ModelConfig, encoded: EncodedExamples, family: EditFamily) -> None:
        """Raises `ConfigError` when the resolution does not divide into this model's tokens."""
        super().__init__(pipeline, config, encoded)
        self._image_argument = family.image_argument
        pixels_per_token = 2 * pipeline.vae_scale_factor
        self._tokens_per_side, rest = divmod(config.resolution, pixels_per_token)
        if rest:
            raise ConfigError(f"model.resolution: {config.resolution} is not a multiple of {pixels_per_token}")
        self.latent_shape = (self._tokens_per_side**2, pipeline.transformer.config.in_channels)
        self.sigmas, self._timesteps = _schedule(
            pipeline.scheduler, num_steps=config.num_inference_steps, num_tokens=self.latent_shape[0]
        )

    def conditioning(self, examples: Sequence[Example]) -> EditConditioning:
        """Conditioning of B examples. Raises `KeyError` for one that was not encoded."""
        rows = self._encoded.rows(examples)
        positions: dict[SourceShapes, list[int]] = {}
        for position, row in enumerate(rows):
            positions.setdefault(_source_shapes(row), []).append(position)
        return EditConditioning(
            examples=tuple(examples),
            rows=tuple(rows),
            parts=tuple(
                EqualSources.of(
                    [rows[position] for position in equal], equal, is_guided=self._is_guided, device=self.device
                )
                for equal in positions.values()
            ),
        )

    def velocity(self, latents_BND: Tensor, step: int, conditioning: EditConditioning) -> Tensor:
        """See `Policy.velocity`: one forward pass per shape of sources, two with guidance."""
        parts = conditioning.parts
        velocities = torch.cat([self._guided(latents_BND[part.positions_B], step, part) for part in parts])
        positions_B = torch.cat([part.positions_B for part in parts])
        return velocities[positions_B.argsort()]

    @torch.no_grad()
    def decode(self, latents_BND: Tensor) -> Tensor:
        """See `Policy.decode`. As in the pipelines, mean and deviation are applied in the autoencoder's dtype."""
        vae, pixels = self._pipeline.vae, self._config.resolution
        latents = self._pipeline._unpack_latents(latents_BND, pixels, pixels, self._pipeline.vae_scale_factor)
        latents = latents.to(vae.dtype)
        inverse_std = 1.0 / _channels(vae.config.latents_std, latents)
        latents = latents / inverse_std + _channels(vae.config.latents_mean, latents)
        images = vae.decode(latents, return_dict=False)[0][:, :, 0]
        return self._pipeline.image_processor.postprocess(images, output_type="pt").float()  # type: ignore[no-any-return]

    def pipeline_images(self, latents_BND: Tensor, conditioning: EditConditioning) -> Tensor:
        """See `Policy.pipeline_images`. The pipeline encodes the sources itself, from their files."""
        items = zip(latents_BND, conditioning.examples, conditioning.rows, strict=True)
        return torch.cat([self._pipeline_image(latents, example, row) for latents, example, row in items])

    @property
    def _is_guided(self) -> bool:
        return self._config.used_negative_prompt is not None

    def _guided(self, latents_BND: Tensor, step: int, part: EqualSources) -> Tensor:
        """As in the pipelines: added up, and brought back to each token's length without guidance, in their dtype."""
        latents_BND = latents_BND.to(part.prompt.embeds_BLE.dtype)
        towards = self._predicted(latents_BND, step, part, part.prompt)
        if part.negative is None:
            return towards.float()
        away = self._predicted(latents_BND, step, part, part.negative)
        combined = away + self._config.true_cfg_scale * (towards - away)
        rescale: Tensor = torch.norm(towards, dim=-1, keepdim=True) / torch.norm(combined, dim=-1, keepdim=True)
        return (combined * rescale).float()

    def _predicted(self, latents_BND: Tensor, step: int, part: EqualSources, text: PaddedText) -> Tensor:
        """The transformer's output for the tokens that are drawn; the timestep is rounded first, then divided."""
        batch, num_tokens, _ = latents_BND.shape
        drawn = (1, self._tokens_per_side, self._tokens_per_side)
        velocity_BND = self.transformer(
            hidden_states=torch.cat([latents_BND, part.source_latents_BMD], dim=1),
            timestep=self._timesteps[step].expand(batch).to(latents_BND) / 1000,
            encoder_hidden_states=text.embeds_BLE,
            encoder_hidden_states_mask=text.mask_BL,
            img_shapes=[[drawn, *((1, height, width) for height, width in part.source_shapes)]] * batch,
            return_dict=False,
        )[0]
        return velocity_BND[:, :num_tokens]  # type: ignore[no-any-return]

    def _pipeline_image(self, latents_ND: Tensor, example: Example, row: Row) -> Tensor:
        texts = {"prompt_embeds": row["prompt_embeds"]}
        if self._is_guided:
            texts["negative_prompt_embeds"] = row["negative_embeds"]
        masks = {f"{name}_mask": torch.ones(embeds.shape[:2], device=self.device) for name, embeds in texts.items()}
        return self._drawn(
            image=self._image_argument([open_source(source) for source in example.sources]),
            **{name: embeds.to(self.device) for name, embeds in texts.items()},
            **masks,
            true_cfg_scale=self._config.true_cfg_scale,
            latents=latents_ND.unsqueeze(0).to(row["prompt_embeds"].dtype),
        )


@torch.no_grad()
def encode_edit(pipeline: Any, family: EditFamily, example: Example, config: ModelConfig) -> Row:
    """What the pipeline makes of an instruction and its sources, before the first denoising step.

    Raises `ConfigError` for a source that the pipeline cannot bring to its size.
    """
    try:
        brought = family.bring(pipeline, [open_source(source) for source in example.sources])
        row = {"prompt_embeds": _encoded_text(pipeline, example.prompt, brought)}
        if config.used_negative_prompt is not None:
            row["negative_embeds"] = _encoded_text(pipeline, config.used_negative_prompt, brought)
    except ValueError as error:  # an edge of no pixels, or a shape that the encoder refuses
        raise ConfigError(f"the source image {example.sources[0].path} cannot be encoded: {error}") from error
    latents = [_encoded_pixels(pipeline, pixels.to(row["prompt_embeds"])) for pixels in brought.pixels]
    packed = [pipeline._pack_latents(each, 1, each.shape[1], *each.shape[-2:]) for each in latents]
    return row | {
        "source_latents": torch.cat(packed, dim=1),
        "source_shapes": torch.tensor([[[each.shape[-2] // 2, each.shape[-1] // 2] for each in latents]]),
    }


def _encoded_text(pipeline: Any, prompt: str, brought: BroughtSources) -> Tensor:
    embeds_1LE, _ = pipeline.encode_prompt(prompt=prompt, image=brought.seen)
    return embeds_1LE  # type: ignore[no-any-return]


def _encoded_pixels(pipeline: Any, pixels: Tensor) -> Tensor:
    """The autoencoder's latents [1, 16, 1, height / 8, width / 8], normalised."""
    return pipeline._encode_vae_image(image=pixels, generator=None)  # type: ignore[no-any-return]


def _source_shapes(row: Row) -> SourceShapes:
    return tuple((height, width) for height, width in row["source_shapes"].squeeze(0).tolist())


def _channels(values: Sequence[float], latents: Tensor) -> Tensor:
    """One value per channel of [B, C, 1, H, W]."""
    return torch.tensor(values).view(1, -1, 1, 1, 1).to(latents)


def _schedule(scheduler: Any, *, num_steps: int, num_tokens: int) -> tuple[tuple[float, ...], Tensor]:
    """The pipelines' own sigmas [T + 1] and timesteps [T]: shifted by the number of tokens that are drawn."""
    config = scheduler.config
    mu = calculate_shift(
        num_tokens,
        config.get("base_image_seq_len", 256),
        config.get("max_image_seq_len", 4096),
        config.get("base_shift", 0.5),
        config.get("max_shift", 1.15),
    )
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / num_steps, num_steps), mu=mu)
    return tuple(scheduler.sigmas.tolist()), scheduler.timesteps.clone()
