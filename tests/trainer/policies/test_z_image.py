"""The Z-Image policy against the real diffusers pipeline it drives."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import ZImagePipeline

from arr.demo.tiny_z_image import build_random_tiny_z_image
from trainer.config import TrainConfig
from trainer.data import Example
from trainer.policies import load_policy
from trainer.policies.lora import trainable_parameters
from trainer.policies.z_image import ZImagePolicy
from trainer.rollout import sample_deterministic
from trainer.self_check import check_policy

CPU = torch.device("cpu")
PROMPTS = ("a red circle", "a blue square above a green triangle")
EXAMPLES = tuple(map(Example, PROMPTS))


@pytest.fixture(scope="module")
def tiny_z_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a real ZImagePipeline of a million random parameters."""
    directory = tmp_path_factory.mktemp("models") / "tiny-z-image"
    build_random_tiny_z_image(directory)
    return directory


@pytest.fixture
def make_z_config(tiny_z_image: Path, make_config: Callable[..., TrainConfig]) -> Callable[..., TrainConfig]:
    """`make_z_config(guidance_scale=4.0, rollout={…})`."""

    def make(guidance_scale: float = 4.0, *, dtype: str = "float32", **sections: object) -> TrainConfig:
        model = {"family": "z_image", "path": str(tiny_z_image), "guidance_scale": guidance_scale}
        return make_config(model={**model, "dtype": dtype, "max_sequence_length": 64}, **sections)

    return make


def _policy(config: TrainConfig) -> ZImagePolicy:
    policy = load_policy(config, examples=EXAMPLES, device=CPU)
    assert isinstance(policy, ZImagePolicy)
    return policy


def _latents(policy: ZImagePolicy) -> torch.Tensor:
    return torch.randn(2, *policy.latent_shape, generator=torch.Generator().manual_seed(0))


def _pipeline_images(pipe: ZImagePipeline, latents_BND: torch.Tensor, guidance_scale: float) -> torch.Tensor:
    pipe.set_progress_bar_config(disable=True)
    latents = latents_BND.transpose(1, 2).reshape(-1, 16, 4, 4)
    size = {"height": 32, "width": 32, "num_inference_steps": 8, "max_sequence_length": 64}
    images: torch.Tensor = pipe(
        list(PROMPTS), latents=latents, guidance_scale=guidance_scale, output_type="pt", **size
    ).images
    return images


@pytest.mark.parametrize("guidance_scale", [0.0, 4.0])
def test_the_deterministic_rollout_draws_the_pipelines_own_image(
    tiny_z_image: Path, make_z_config: Callable[..., TrainConfig], guidance_scale: float
) -> None:
    policy = _policy(make_z_config(guidance_scale))
    latents = _latents(policy)
    ours = sample_deterministic(policy, latents, policy.conditioning(EXAMPLES))
    theirs = _pipeline_images(ZImagePipeline.from_pretrained(tiny_z_image), latents, guidance_scale)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_passes_the_checks_that_every_run_begins_with(make_z_config: Callable[..., TrainConfig], dtype: str) -> None:
    config = make_z_config(dtype=dtype, rollout={"candidates": 4})
    rollout = check_policy(_policy(config), config, examples=EXAMPLES, is_fresh=True)
    assert rollout.images_B3HW.shape == (8, 3, 32, 32)


def test_an_exported_adapter_draws_the_same_images_in_a_fresh_pipeline(
    tiny_z_image: Path, make_z_config: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    policy = _policy(make_z_config())
    latents, source = _latents(policy), torch.Generator().manual_seed(1)
    base = sample_deterministic(policy, latents, policy.conditioning(EXAMPLES))
    with torch.no_grad():
        for parameter in trainable_parameters(policy.transformer):
            parameter.add_(torch.randn(parameter.shape, generator=source) * 0.05)
    ours = sample_deterministic(policy, latents, policy.conditioning(EXAMPLES))
    policy.save_for_diffusers(tmp_path)
    pipe = ZImagePipeline.from_pretrained(tiny_z_image)
    pipe.load_lora_weights(tmp_path)
    torch.testing.assert_close(_pipeline_images(pipe, latents, 4.0), ours, atol=1e-4, rtol=0)
    assert not torch.allclose(ours, base, atol=1e-2)
