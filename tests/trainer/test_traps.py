"""Mistakes that other trainers of flow-matching models were seen to make; each test is named after one.

Each fails when the mistake is built in. Further ones stand where their subject is tested: rotary positions and guidance
of Qwen-Image in `policies`, clipping on shards and resuming that does not resume in the tests of those.
"""

import io
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.reward_api.app import create_app
from services.reward_api.settings import Settings
from trainer.algorithms.advantages import group_advantages
from trainer.algorithms.sde import gaussian_log_ratio
from trainer.config import RewardConfig, TrainConfig
from trainer.data import Example
from trainer.files import write_whole
from trainer.policies import load_policy
from trainer.policies.base import Policy
from trainer.policies.lora import adapter_off, trainable_parameters
from trainer.rewards import RewardSource
from trainer.rollout import Rollout, mean_of_step, sample_deterministic, sample_rollout
from trainer.update import UpdateLosses, backward_rpo

CPU = torch.device("cpu")
EXAMPLES = (Example("a red circle"), Example("a blue square"))

MakeConfig = Callable[..., TrainConfig]


@pytest.fixture
def model_of(tiny_flux: Path, tiny_sd3: Path) -> Callable[..., dict[str, Any]]:
    """`model_of("sd3", dtype="bfloat16")`: the model section of a recipe."""
    paths = {"flux": tiny_flux, "sd3": tiny_sd3}

    def make(family: str, **changes: Any) -> dict[str, Any]:
        return {"family": family, "path": str(paths[family]), "guidance_scale": 3.5} | changes

    return make


def _load(config: TrainConfig) -> Policy:
    return load_policy(config, examples=EXAMPLES, device=CPU)


def _nudge(policy: Policy) -> None:
    """A fresh adapter computes nothing; most mistakes show on one that was trained."""
    source = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in trainable_parameters(policy.transformer):
            parameter.add_(torch.randn(parameter.shape, generator=source) * 0.05)


def _rollout(policy: Policy, config: TrainConfig, examples: tuple[Example, ...] = EXAMPLES) -> Rollout:
    return sample_rollout(policy, examples, config=config.rollout, seed=0, step=0, first_group=0)


def _update(policy: Policy, config: TrainConfig, rollout: Rollout, rewards: list[list[float]]) -> UpdateLosses:
    advantages = group_advantages(
        torch.tensor(rewards), baseline=config.loss.baseline, scale=config.loss.scale, clip=5.0
    )
    losses = backward_rpo(
        policy,
        [rollout],
        advantages,
        num_judged=len(rewards),
        config=config,
        backward=lambda loss: loss.backward(),
    )
    assert losses is not None
    return losses


@contextmanager
def _watched(policy: Policy) -> Iterator[list[dict[str, Any]]]:
    """What the transformer is called with, and whether it is in training mode."""
    seen: list[dict[str, Any]] = []
    handle = policy.transformer.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs | {"training": module.training}), with_kwargs=True
    )
    try:
        yield seen
    finally:
        handle.remove()


def _drawn_by_pipeline_and_by_us(policy: Policy) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    latents = torch.randn(2, *policy.latent_shape, generator=torch.Generator().manual_seed(0))
    conditioning = policy.conditioning(EXAMPLES)
    with _watched(policy) as theirs:
        policy.pipeline_images(latents, conditioning)
    with _watched(policy) as ours:
        sample_deterministic(policy, latents, conditioning)
    return theirs, ours


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", ["flux", "sd3"])
def test_int_of_1000_sigma_as_the_timestep(
    make_config: MakeConfig, model_of: Callable[..., dict[str, Any]], family: str, dtype: str
) -> None:
    policy = _load(make_config(model=model_of(family, dtype=dtype)))
    theirs, ours = _drawn_by_pipeline_and_by_us(policy)
    assert len(ours) == len(theirs) == 8
    for ourselves, pipeline in zip(ours, theirs, strict=True):
        assert ourselves["timestep"].dtype == pipeline["timestep"].dtype
        assert torch.equal(ourselves["timestep"], pipeline["timestep"])  # rounded as the pipeline rounds, to the bit
    assert any(float(call["timestep"][0]) * (1000 if family == "flux" else 1) % 1 > 0.01 for call in ours)


@pytest.mark.parametrize("step", ["cps", "dance", "flow"])
@pytest.mark.parametrize("family", ["flux", "sd3"])
def test_latents_stored_in_bf16_under_a_log_prob_in_fp32(
    make_config: MakeConfig, model_of: Callable[..., dict[str, Any]], family: str, step: str
) -> None:
    config = make_config(model=model_of(family, dtype="bfloat16"), rollout={"step": step, "eta": 0.3})
    policy = _load(config)
    _nudge(policy)
    rollout = _rollout(policy, config)
    for taken in rollout.steps:
        stored = (taken.latents_BND, taken.next_latents_BND, taken.mean_BND)
        assert {tensor.dtype for tensor in stored} == {torch.float32}
        assert not any(torch.equal(tensor, tensor.bfloat16().float()) for tensor in stored)  # nor rounded on the way
        mean = mean_of_step(policy, taken, rollout.conditioning, config.rollout).detach()
        log_ratio = gaussian_log_ratio(taken.next_latents_BND, mean, taken.mean_BND, taken.std, reduction="mean")
        assert log_ratio.dtype == torch.float64
        assert float((log_ratio.exp() - 1).abs().max()) < 5e-5


@pytest.mark.parametrize("family", ["flux", "sd3"])
def test_training_in_batches_of_another_shape_than_the_sampled_ones(
    make_config: MakeConfig, model_of: Callable[..., dict[str, Any]], family: str
) -> None:
    config = make_config(model=model_of(family))
    policy = _load(config)
    with _watched(policy) as sampled:
        rollout = _rollout(policy, config)
    with _watched(policy) as trained:
        losses = _update(policy, config, rollout, [[1.0, -1.0], [-1.0, 1.0]])
    shapes = [tuple(call["hidden_states"].shape) for call in sampled[:-1]]  # the last step is not trained on
    assert [tuple(call["hidden_states"].shape) for call in trained] == shapes
    assert losses.record(grad_norm=0.0).max_ratio_error == 0.0  # equal shapes, equal numbers: not one bit off


@pytest.mark.parametrize("checkpointing", [False, True])
def test_eval_mode_in_the_rollout_and_training_mode_in_the_update(
    make_config: MakeConfig, model_of: Callable[..., dict[str, Any]], checkpointing: bool
) -> None:
    config = make_config(model=model_of("flux", gradient_checkpointing=checkpointing))
    policy = _load(config)
    assert not any(module.training for module in policy.transformer.modules())
    with _watched(policy) as calls:
        _update(policy, config, _rollout(policy, config), [[1.0, -1.0], [-1.0, 1.0]])
    assert {call["training"] for call in calls} == {False}
    assert not any(module.training for module in policy.transformer.modules())


def test_kl_without_gradient(make_config: MakeConfig) -> None:
    config = make_config(loss={"kl_weight": 1.0, "baseline": "none"})
    policy = _load(config)
    _nudge(policy)
    _update(policy, config, _rollout(policy, config), [[0.0, 0.0], [0.0, 0.0]])  # no advantage: the KL is all there is
    gradients = [parameter.grad for parameter in trainable_parameters(policy.transformer)]
    assert max(float(gradient.abs().max()) for gradient in gradients if gradient is not None) > 1e-6


@torch.no_grad()
def test_kl_scale_without_dt(make_config: MakeConfig) -> None:
    # dance: mean = x + [v + η²/(2s)·(x + (1 − s)·v)]·dt, std² = −η²·dt, so that for two velocities
    # KL = (v − v_ref)²·(1 + η²·(1 − s)/(2s))²·(−dt)/(2·η²): linear in dt, where without it in std² it is quadratic.
    eta = 0.3
    config = make_config(rollout={"step": "dance", "eta": eta}, loss={"kl_weight": 1.0})
    policy = _load(config)
    _nudge(policy)
    rollout = _rollout(policy, config)
    expected = []
    for step in rollout.steps:
        s, dt = policy.sigmas[step.index], policy.sigmas[step.index + 1] - policy.sigmas[step.index]
        velocity = policy.velocity(step.latents_BND, step.index, rollout.conditioning)
        with policy.adapter_off():
            reference = policy.velocity(step.latents_BND, step.index, rollout.conditioning)
        apart = float((velocity - reference).double().square().mean())
        expected.append(apart * (1 + eta**2 * (1 - s) / (2 * s)) ** 2 * -dt / (2 * eta**2))
    with torch.enable_grad():
        kl = _update(policy, config, rollout, [[1.0, -1.0], [-1.0, 1.0]]).record(grad_norm=0.0).kl
    assert kl == pytest.approx(np.mean(expected), rel=1e-3)


def test_advantages_in_the_wrong_group(make_config: MakeConfig) -> None:
    # Two groups of one prompt stay two: each is compared with its own mean, and each has noise of its own.
    config = make_config()
    rollout = _rollout(_load(config), config, (EXAMPLES[0], EXAMPLES[0]))
    assert len(set(rollout.group_ids)) == 2
    first, _, second, _ = rollout.steps[0].latents_BND
    assert not torch.equal(first, second)
    advantages = group_advantages(torch.tensor([[0.0, 1.0], [10.0, 14.0]]), baseline="group", scale="none", clip=5.0)
    assert advantages.values_PG.tolist() == [[-0.5, 0.5], [-2.0, 2.0]]


@pytest.mark.parametrize("family", ["flux", "sd3"])
def test_guidance_silently_lost(make_config: MakeConfig, model_of: Callable[..., dict[str, Any]], family: str) -> None:
    policy = _load(make_config(model=model_of(family)))
    theirs, ours = _drawn_by_pipeline_and_by_us(policy)
    for name, value in theirs[0].items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(ours[0][name], value, atol=1e-6, rtol=0)
    assert len(ours[0]["hidden_states"]) == (2 if family == "flux" else 4)  # SD3: with and without the prompt


@pytest.mark.parametrize("family", ["flux", "sd3"])
def test_guidance_in_use_that_is_not_the_guidance_in_training(
    make_config: MakeConfig, model_of: Callable[..., dict[str, Any]], family: str
) -> None:
    config = make_config(model=model_of(family))
    policy = _load(config)
    with _watched(policy) as sampled:
        rollout = _rollout(policy, config)
    with _watched(policy) as trained:
        _update(policy, config, rollout, [[1.0, -1.0], [-1.0, 1.0]])
    in_use, _ = _drawn_by_pipeline_and_by_us(policy)
    rows = {"flux": 4, "sd3": 8}[family]
    assert {len(call["hidden_states"]) for call in (*sampled, *trained)} == {rows}
    scales = {float(call["guidance"][0]) for call in (*sampled, *trained, *in_use) if "guidance" in call}
    assert scales == ({3.5} if family == "flux" else set())
    latents, conditioning = rollout.steps[0].latents_BND, rollout.conditioning
    other = _load(make_config(model=model_of(family, guidance_scale=1.0)))
    with torch.no_grad():
        guided, unguided = (each.velocity(latents, 0, conditioning) for each in (policy, other))
    assert float((guided - unguided).abs().max()) > 1e-4  # the number is not only handed on


def test_disable_adapter_that_silently_does_nothing(make_config: MakeConfig) -> None:
    config = make_config()
    policy, untouched = _load(config), _load(config)
    latents, conditioning = torch.ones(2, *policy.latent_shape), policy.conditioning(EXAMPLES)
    _nudge(policy)
    with torch.no_grad():
        with policy.adapter_off():
            reference = policy.velocity(latents, 0, conditioning)
        assert torch.equal(reference, untouched.velocity(latents, 0, conditioning))
        assert not torch.allclose(policy.velocity(latents, 0, conditioning), reference, atol=1e-4)
    with pytest.raises(RuntimeError, match="no adapter"), adapter_off(torch.nn.Linear(2, 2)):
        pass


def test_a_window_reseeded_on_every_rank(make_config: MakeConfig) -> None:
    config = make_config(rollout={"window": 2})
    policy = _load(config)
    windows = []
    for step in range(6):
        indices = []
        for rank, example in enumerate(EXAMPLES):  # each process has a random state of its own, and part of the groups
            torch.manual_seed(rank)
            rollout = sample_rollout(policy, [example], config=config.rollout, seed=0, step=step, first_group=rank)
            indices.append([taken.index for taken in rollout.steps])
        assert indices[0] == indices[1]
        windows.append(tuple(indices[0]))
    assert len(set(windows)) > 1  # redrawn as training goes on


def test_images_that_reach_the_judge_as_lossy_jpeg(serve: Callable[[ASGIApp], str], tmp_path: Path) -> None:
    bodies: list[bytes] = []
    service = create_app(Settings(data_dir=tmp_path))

    async def listening(scope: Scope, receive: Receive, send: Send) -> None:
        async def overheard() -> Message:
            message = await receive()
            bodies.append(message.get("body", b""))
            return message

        await service(scope, overheard, send)

    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))  # noise: what JPEG cannot keep
    config = RewardConfig(url=serve(listening), rubric="t2i@none", allow_pixel_judge=True)
    with RewardSource(config, run_id="test", num_threads=1) as rewards:
        rewards.probe(EXAMPLES[0], tuple(images))
    files = re.findall(rb"\x89PNG.*?IEND....", b"".join(bodies), re.DOTALL)
    arrived = [np.asarray(Image.open(io.BytesIO(file))) for file in files]
    sent = (images * 255).round().byte().permute(0, 2, 3, 1).numpy()
    assert len(arrived) == 2
    assert all(any(np.array_equal(picture, original) for picture in arrived) for original in sent)


def test_files_overwritten_in_place(tmp_path: Path) -> None:
    path, reader = tmp_path / "adapter.safetensors", tmp_path / "opened-before"
    write_whole(path, b"the old weights")
    os.link(path, reader)  # whoever opened the file, or was killed half-way through writing the next one
    write_whole(path, b"the new weights")
    assert path.read_bytes() == b"the new weights"
    assert reader.read_bytes() == b"the old weights"
