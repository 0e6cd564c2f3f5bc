"""The SD3 policy against the real diffusers pipeline it drives."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusion3Pipeline

from trainer.config import TrainConfig
from trainer.data import Example
from trainer.errors import ConfigError
from trainer.policies import load_policy
from trainer.policies.encoded_examples import EncodedExamples
from trainer.policies.lora import trainable_parameters
from trainer.policies.sd3 import Sd3Policy, load_sd3
from trainer.rollout import sample_deterministic
from trainer.self_check import check_policy

CPU = torch.device("cpu")
PROMPTS = ("a red circle", "a blue square")
EXAMPLES = tuple(map(Example, PROMPTS))


@pytest.fixture
def make_sd3_config(tiny_sd3: Path, make_config: Callable[..., TrainConfig]) -> Callable[..., TrainConfig]:
    """`make_sd3_config(guidance_scale=4.5, rollout={…})`."""

    def make(guidance_scale: float = 4.5, **sections: object) -> TrainConfig:
        model = {"family": "sd3", "path": str(tiny_sd3), "guidance_scale": guidance_scale}
        return make_config(model=model, **sections)

    return make


def _policy(config: TrainConfig) -> Sd3Policy:
    policy = load_policy(config, examples=EXAMPLES, device=CPU)
    assert isinstance(policy, Sd3Policy)
    return policy


def _latents(policy: Sd3Policy, count: int) -> torch.Tensor:
    return torch.randn(count, *policy.latent_shape, generator=torch.Generator().manual_seed(0))


def _nudge(policy: Sd3Policy) -> None:
    with torch.no_grad():
        for parameter in trainable_parameters(policy.transformer):
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.05)


def _pipeline(path: Path) -> StableDiffusion3Pipeline:
    pipe = StableDiffusion3Pipeline.from_pretrained(path)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _pipeline_images(pipe: StableDiffusion3Pipeline, latents_BND: torch.Tensor, guidance_scale: float) -> torch.Tensor:
    latents = latents_BND.transpose(1, 2).reshape(-1, 16, 4, 4)
    sizes = {"height": 32, "width": 32, "num_inference_steps": 8, "max_sequence_length": 12}
    images: torch.Tensor = pipe(
        list(PROMPTS), latents=latents, guidance_scale=guidance_scale, output_type="pt", **sizes
    ).images
    return images


@pytest.mark.parametrize("guidance_scale", [1.0, 4.5])
def test_the_deterministic_rollout_draws_the_pipelines_own_image(
    tiny_sd3: Path, make_sd3_config: Callable[..., TrainConfig], guidance_scale: float
) -> None:
    policy = _policy(make_sd3_config(guidance_scale))
    latents = _latents(policy, 2)
    ours = sample_deterministic(policy, latents, policy.conditioning(EXAMPLES))
    theirs = _pipeline_images(_pipeline(tiny_sd3), latents, guidance_scale)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_guidance_is_part_of_what_is_trained(make_sd3_config: Callable[..., TrainConfig]) -> None:
    # v = v(no prompt) + g·(v(prompt) − v(no prompt)): at g = 1 it is v(prompt), and linear in g beyond.
    velocities = []
    for guidance_scale in (1.0, 2.0, 5.0):
        policy = _policy(make_sd3_config(guidance_scale))
        with torch.no_grad():
            velocities.append(policy.velocity(_latents(policy, 2), 0, policy.conditioning(EXAMPLES)))
    plain, twice, five = velocities
    assert not torch.allclose(plain, twice, atol=1e-3)
    torch.testing.assert_close(five - plain, 4 * (twice - plain), atol=1e-4, rtol=1e-4)


def test_both_text_paths_reach_the_transformer(tiny_sd3: Path, make_sd3_config: Callable[..., TrainConfig]) -> None:
    policy = _policy(make_sd3_config())
    embeds = policy.conditioning(EXAMPLES).prompt_embeds_BLE
    assert embeds.shape == (2, 24, 128)  # 12 tokens of the CLIPs, side by side, then 12 of T5
    clip, t5 = embeds[:, :12], embeds[:, 12:]
    assert not torch.equal(clip[0], clip[1])
    assert not torch.equal(t5[0], t5[1])


def test_the_transformer_sees_the_schedulers_float_timesteps(make_sd3_config: Callable[..., TrainConfig]) -> None:
    policy = _policy(make_sd3_config())
    seen: list[float] = []
    policy.transformer.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["timestep"][0].item()), with_kwargs=True
    )
    policy.velocity(_latents(policy, 1), 1, policy.conditioning(EXAMPLES[:1]))
    assert seen == [pytest.approx(1000 * policy.sigmas[1], rel=1e-6)]
    assert seen[0] != int(seen[0])


def test_dynamic_shift_follows_the_pipeline(tiny_sd3: Path, make_sd3_config: Callable[..., TrainConfig]) -> None:
    pipe = _pipeline(tiny_sd3)
    pipe.scheduler.register_to_config(use_dynamic_shifting=True, shift=1.0)
    policy = Sd3Policy(pipe, make_sd3_config().model, EncodedExamples({}))
    pipe("a red circle", height=32, width=32, num_inference_steps=8, max_sequence_length=12, output_type="latent")
    assert policy.sigmas == pytest.approx(pipe.scheduler.sigmas.tolist(), abs=1e-7)


@pytest.mark.parametrize(("step", "eta"), [("cps", 0.9), ("flow", 0.7), ("dance", 0.3)])
def test_it_passes_the_checks_that_every_run_begins_with(
    make_sd3_config: Callable[..., TrainConfig], step: str, eta: float
) -> None:
    config = make_sd3_config(rollout={"step": step, "eta": eta, "candidates": 4})
    rollout = check_policy(_policy(config), config, examples=EXAMPLES, is_fresh=True)
    assert rollout.images_B3HW.shape == (8, 3, 32, 32)


def test_an_exported_adapter_draws_the_same_images_in_a_fresh_pipeline(
    tiny_sd3: Path, make_sd3_config: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    policy = _policy(make_sd3_config())
    latents = _latents(policy, 2)
    base = sample_deterministic(policy, latents, policy.conditioning(EXAMPLES))
    _nudge(policy)
    ours = sample_deterministic(policy, latents, policy.conditioning(EXAMPLES))
    policy.save_for_diffusers(tmp_path)
    pipe = _pipeline(tiny_sd3)
    pipe.load_lora_weights(tmp_path)
    torch.testing.assert_close(_pipeline_images(pipe, latents, 4.5), ours, atol=1e-4, rtol=0)
    assert not torch.allclose(ours, base, atol=1e-2)


def test_a_path_without_a_pipeline_is_one_clear_error(make_config: Callable[..., TrainConfig], tmp_path: Path) -> None:
    config = make_config(model={"family": "sd3", "path": str(tmp_path / "nowhere")})
    with pytest.raises(ConfigError, match="holds no Stable Diffusion 3 pipeline"):
        load_sd3(config.model, examples=(), device=CPU)


def test_a_flux_pipeline_is_not_taken_for_an_sd3_one(tiny_flux: Path, make_config: Callable[..., TrainConfig]) -> None:
    config = make_config(model={"family": "sd3", "path": str(tiny_flux)})
    with pytest.raises(ConfigError, match="holds no Stable Diffusion 3 pipeline"):
        load_sd3(config.model, examples=(), device=CPU)
