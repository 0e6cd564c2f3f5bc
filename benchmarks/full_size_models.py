"""Models as large as the real ones, with random weights made on the device: nothing is downloaded, or read.

Owns sizes, as the published configurations have them, and what stands in for encoded prompts. Policies and recipes are
the trainer's own. Speed and memory of a transformer do not depend on what its weights say; pictures mean nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    QwenImageEditPipeline,
    QwenImageTransformer2DModel,
)

from trainer.config import ModelConfig, TrainConfig, load_config
from trainer.data import Example, derive_seed
from trainer.policies import lora
from trainer.policies.base import Policy
from trainer.policies.encoded_examples import EncodedExamples, Row
from trainer.policies.flux import FluxPolicy
from trainer.policies.qwen_edit import EditFamily, QwenEditPolicy

_CONFIGS = Path(__file__).parents[1] / "trainer" / "configs"

_LATENT_CHANNELS = 16
_TOKEN_CHANNELS = 64
"""2 × 2 latents of 16 channels, in both families."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """A model by its numbers."""

    name: str
    recipe: Path
    """How it is trained: adapter, sampler, loss."""
    resolution: int
    """Unless another one is asked for."""
    transformer: Mapping[str, Any]
    autoencoder: Mapping[str, Any]
    text_tokens: int
    """Of an encoded prompt, vision tokens included."""
    source_tokens_per_side: int = 0
    """Of an edit's source."""

    @property
    def is_edit(self) -> bool:
        """Whether it is of Qwen-Image-Edit's kind; otherwise of FLUX's."""
        return self.source_tokens_per_side > 0

    def config(self, *, resolution: int | None, num_inference_steps: int | None, groups: int) -> TrainConfig:
        """The recipe, with one micro-batch of `groups` pairs per step."""
        steps = None if num_inference_steps is None else f"model.num_inference_steps={num_inference_steps}"
        overrides = (
            f"model.resolution={resolution or self.resolution}",
            f"model.path={self.name}",
            f"rollout.prompts_per_step={groups}",
            "rollout.micro_batches=1",
            *([] if steps is None else [steps]),
        )
        return load_config(self.recipe, overrides)


_FLUX_TRANSFORMER = {
    "in_channels": _TOKEN_CHANNELS,
    "num_layers": 19,
    "num_single_layers": 38,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "guidance_embeds": True,
    "axes_dims_rope": (16, 56, 56),
}
_FLUX_AUTOENCODER = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "norm_num_groups": 32}

_QWEN_TRANSFORMER = {
    "in_channels": _TOKEN_CHANNELS,
    "out_channels": _LATENT_CHANNELS,
    "num_layers": 60,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 3584,
    "axes_dims_rope": (16, 56, 56),
}
_QWEN_AUTOENCODER = {"base_dim": 96, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2}

_TINY = {"attention_head_dim": 32, "num_attention_heads": 2, "joint_attention_dim": 32, "axes_dims_rope": (8, 12, 12)}

MODELS: dict[str, ModelShape] = {
    shape.name: shape
    for shape in (
        ModelShape(
            name="tiny",
            recipe=_CONFIGS / "flux1_dev_rpo.toml",
            resolution=32,
            transformer=_FLUX_TRANSFORMER | _TINY | {"num_layers": 1, "num_single_layers": 2},
            autoencoder={"block_out_channels": (8, 8, 8, 8), "layers_per_block": 1, "norm_num_groups": 4},
            text_tokens=12,
        ),
        ModelShape(
            name="tiny-edit",
            recipe=_CONFIGS / "qwen_image_edit_rpo.toml",
            resolution=32,
            transformer=_QWEN_TRANSFORMER | _TINY | {"num_layers": 2},
            autoencoder={"base_dim": 8, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1},
            text_tokens=20,
            source_tokens_per_side=4,
        ),
        ModelShape(
            name="flux-12b",
            recipe=_CONFIGS / "flux1_dev_rpo.toml",
            resolution=512,
            transformer=_FLUX_TRANSFORMER,
            autoencoder=_FLUX_AUTOENCODER,
            text_tokens=512,
        ),
        ModelShape(
            name="qwen-image-edit",
            recipe=_CONFIGS / "qwen_image_edit_rpo.toml",
            resolution=512,
            transformer=_QWEN_TRANSFORMER,
            autoencoder=_QWEN_AUTOENCODER,
            text_tokens=1400,  # 37 × 37 vision tokens of a source of 1024², and some thirty words
            source_tokens_per_side=64,
        ),
    )
}
"""By name. The tiny ones are for machines without a GPU: the same code, numbers that mean nothing."""


def random_policy(shape: ModelShape, config: TrainConfig, *, device: torch.device) -> tuple[Policy, list[Example]]:
    """The policy with a fresh adapter, and as many examples as a step has groups. On `meta` it takes no memory."""
    examples = [Example(f"prompt {number}") for number in range(config.rollout.prompts_per_step)]
    make = _edit_policy if shape.is_edit else _flux_policy
    policy = make(shape, config.model, examples, device)
    policy.transformer.requires_grad_(False).eval()
    lora.attach_lora(
        policy.transformer,
        rank=config.lora.rank,
        alpha=config.lora.alpha,
        targets=config.lora.targets,
        seed=derive_seed(config.seed, "lora"),
    )
    return policy, examples


def _flux_policy(shape: ModelShape, config: ModelConfig, examples: list[Example], device: torch.device) -> Policy:
    with _made_on(device, config.dtype):
        transformer = FluxTransformer2DModel(**shape.transformer)
        vae = AutoencoderKL(
            latent_channels=_LATENT_CHANNELS,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            scaling_factor=0.3611,
            shift_factor=0.1159,
            use_quant_conv=False,
            use_post_quant_conv=False,
            **shape.autoencoder,
        )
    pipeline = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0),
        vae=vae.eval().requires_grad_(False),
        transformer=transformer,
        **dict.fromkeys(("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")),
    )
    width, pooled = shape.transformer["joint_attention_dim"], shape.transformer["pooled_projection_dim"]

    def row() -> Row:
        return {
            "prompt_embeds": _random(1, shape.text_tokens, width, dtype=config.dtype),
            "pooled_embeds": _random(1, pooled, dtype=config.dtype),
        }

    return FluxPolicy(pipeline, config, _rows(examples, row))


def _edit_policy(shape: ModelShape, config: ModelConfig, examples: list[Example], device: torch.device) -> Policy:
    with _made_on(device, config.dtype):
        transformer = QwenImageTransformer2DModel(**shape.transformer)
        vae = AutoencoderKLQwenImage(z_dim=_LATENT_CHANNELS, **shape.autoencoder)
    pipeline = QwenImageEditPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True, max_shift=0.9, max_image_seq_len=8192, shift_terminal=0.02
        ),
        vae=vae.eval().requires_grad_(False),
        transformer=transformer,
        **dict.fromkeys(("text_encoder", "tokenizer", "processor")),
    )
    side, width = shape.source_tokens_per_side, shape.transformer["joint_attention_dim"]

    def row() -> Row:
        return {
            "prompt_embeds": _random(1, shape.text_tokens, width, dtype=config.dtype),
            "negative_embeds": _random(1, shape.text_tokens, width, dtype=config.dtype),
            "source_latents": _random(1, side**2, _TOKEN_CHANNELS, dtype=config.dtype),
            "source_shapes": torch.tensor([[[side, side]]]),
        }

    family = EditFamily(
        name=shape.name, pipeline_class=QwenImageEditPipeline, bring=_has_no_pictures, image_argument=_has_no_pictures
    )
    return QwenEditPolicy(pipeline, config, _rows(examples, row), family)


def _has_no_pictures(*_: Any) -> Any:
    raise NotImplementedError("a model with random weights has no pictures, only their latents")


def _rows(examples: list[Example], row: Callable[[], Row]) -> EncodedExamples:
    return EncodedExamples({example: row() for example in examples})


def _random(*shape: int, dtype: str) -> torch.Tensor:
    return torch.randn(shape).to(getattr(torch, dtype))


@contextmanager
def _made_on(device: torch.device, dtype: str) -> Iterator[None]:
    """Weights are born where and as they are used: 12 B of them in float32 would not fit."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with device:
            yield
    finally:
        torch.set_default_dtype(before)
