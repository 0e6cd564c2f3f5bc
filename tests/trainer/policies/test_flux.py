"""The FLUX policy against the real diffusers pipeline it drives."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import FluxPipeline

from trainer.config import TrainConfig
from trainer.data import Example
from trainer.errors import ConfigError
from trainer.policies import load_policy
from trainer.policies.encoded_examples import EncodedExamples
from trainer.policies.flux import FluxPolicy, load_flux
from trainer.policies.lora import trainable_parameters
from trainer.rollout import sample_deterministic

CPU = torch.device("cpu")
PROMPTS = ("a red circle", "a blue square")
EXAMPLES = tuple(map(Example, PROMPTS))


@pytest.fixture
def policy(make_config: Callable[..., TrainConfig]) -> FluxPolicy:
    loaded = load_policy(make_config(), examples=EXAMPLES, device=CPU)
    assert isinstance(loaded, FluxPolicy)
    return loaded


def _latents(policy: FluxPolicy, count: int) -> torch.Tensor:
    return torch.randn(count, *policy.latent_shape, generator=torch.Generator().manual_seed(0))


def _nudge(policy: FluxPolicy) -> None:
    with torch.no_grad():
        for parameter in trainable_parameters(policy.transformer):
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.05)


def test_the_deterministic_rollout_draws_the_pipelines_own_image(tiny_flux: Path, policy: FluxPolicy) -> None:
    latents = _latents(policy, 2)
    ours = sample_deterministic(policy, latents, policy.conditioning(EXAMPLES))
    pipe = FluxPipeline.from_pretrained(tiny_flux)
    pipe.set_progress_bar_config(disable=True)
    theirs = pipe(
        list(PROMPTS),
        latents=latents,
        height=32,
        width=32,
        num_inference_steps=8,
        guidance_scale=3.5,
        max_sequence_length=12,
        output_type="pt",
    ).images
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_the_transformer_sees_the_schedulers_float_timesteps(policy: FluxPolicy) -> None:
    # shift 3 on linspace(1, 1/8, 8): s = 3u/(1 + 2u). int(1000·s) would be 954 at the second step.
    expected = [3 * u / (1 + 2 * u) for u in (1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8)]
    assert policy.sigmas == pytest.approx([*expected, 0.0], abs=1e-6)
    seen: list[float] = []
    policy.transformer.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["timestep"][0].item()), with_kwargs=True
    )
    policy.velocity(_latents(policy, 1), 1, policy.conditioning(EXAMPLES[:1]))
    assert seen == pytest.approx([954.5454 / 1000], abs=1e-6)


def test_dynamic_shift_follows_the_pipeline(tiny_flux: Path, make_config: Callable[..., TrainConfig]) -> None:
    pipe = FluxPipeline.from_pretrained(tiny_flux)
    pipe.scheduler.register_to_config(use_dynamic_shifting=True)
    policy = FluxPolicy(pipe, make_config().model, EncodedExamples({}))
    pipe.set_progress_bar_config(disable=True)
    pipe("a red circle", height=32, width=32, num_inference_steps=8, max_sequence_length=12, output_type="latent")
    assert policy.sigmas == pytest.approx(pipe.scheduler.sigmas.tolist(), abs=1e-7)
    assert policy.sigmas[1] != pytest.approx(954.5454 / 1000, abs=1e-3)


def test_a_fresh_adapter_changes_nothing_and_switching_it_off_restores_the_base(policy: FluxPolicy) -> None:
    latents, conditioning = _latents(policy, 2), policy.conditioning(EXAMPLES)
    with torch.no_grad():
        fresh = policy.velocity(latents, 0, conditioning)
        _nudge(policy)
        nudged = policy.velocity(latents, 0, conditioning)
        with policy.adapter_off():
            base = policy.velocity(latents, 0, conditioning)
    assert torch.equal(fresh, base)
    assert not torch.allclose(nudged, base, atol=1e-3)


def test_switching_off_an_adapter_that_is_not_there_is_an_error(make_config: Callable[..., TrainConfig]) -> None:
    policy = load_flux(make_config().model, examples=EXAMPLES, device=CPU)
    with pytest.raises(RuntimeError, match="no adapter"), policy.adapter_off():
        pass


def test_only_the_adapter_is_trainable_and_it_is_float32(make_config: Callable[..., TrainConfig]) -> None:
    policy = load_policy(make_config(model={"dtype": "bfloat16"}), examples=EXAMPLES, device=CPU)
    for name, parameter in policy.transformer.named_parameters():
        assert parameter.requires_grad == ("lora_" in name)
        assert parameter.dtype == (torch.float32 if "lora_" in name else torch.bfloat16)


def test_equal_seeds_give_equal_adapters_and_leave_the_global_random_state_alone(
    make_config: Callable[..., TrainConfig],
) -> None:
    torch.manual_seed(123)
    first = load_policy(make_config(seed=5), examples=(), device=CPU).adapter_state()
    after = torch.rand(1)
    second = load_policy(make_config(seed=5), examples=(), device=CPU).adapter_state()
    other = load_policy(make_config(seed=6), examples=(), device=CPU).adapter_state()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    torch.manual_seed(123)
    assert torch.equal(after, torch.rand(1))


def test_an_adapter_of_another_shape_is_refused(make_config: Callable[..., TrainConfig], policy: FluxPolicy) -> None:
    state = policy.adapter_state()
    state.pop(min(state))
    with pytest.raises(ValueError, match="1 keys differ"):
        policy.load_adapter_state(state)


def test_a_path_without_a_pipeline_is_one_clear_error(make_config: Callable[..., TrainConfig], tmp_path: Path) -> None:
    config = make_config(model={"path": str(tmp_path / "nowhere")})
    with pytest.raises(ConfigError, match="holds no FLUX pipeline"):
        load_flux(config.model, examples=(), device=CPU)


def test_a_prompt_that_t5_would_cut_off_is_refused_with_its_length(make_config: Callable[..., TrainConfig]) -> None:
    fits, too_long = Example("a red circle " * 3 + "a red"), Example("a red circle " * 4)  # and one that ends the text
    load_policy(make_config(), examples=(fits,), device=CPU)
    with pytest.raises(ConfigError, match=r"has 13 tokens, and the encoder reads 12 \(model.max_sequence_length\)"):
        load_policy(make_config(), examples=(fits, too_long), device=CPU)
