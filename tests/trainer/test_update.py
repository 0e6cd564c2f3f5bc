from collections.abc import Callable

import pytest
import torch

from trainer.algorithms.advantages import Baseline, group_advantages
from trainer.algorithms.sde import gaussian_log_ratio
from trainer.config import TrainConfig
from trainer.data import Example
from trainer.policies import load_policy
from trainer.policies.base import Policy
from trainer.policies.lora import trainable_parameters
from trainer.rollout import Rollout, mean_of_step, sample_rollout
from trainer.update import UpdateLosses, backward_rpo

EXAMPLES = (Example("a red circle"), Example("a blue square"))
NAN = float("nan")


@pytest.fixture
def config(make_config: Callable[..., TrainConfig]) -> TrainConfig:
    return make_config()


@pytest.fixture
def policy(config: TrainConfig) -> Policy:
    return load_policy(config, examples=EXAMPLES, device=torch.device("cpu"))


def _rollouts(policy: Policy, config: TrainConfig) -> list[Rollout]:
    return [
        sample_rollout(policy, [prompt], config=config.rollout, seed=0, step=0, first_group=group)
        for group, prompt in enumerate(EXAMPLES)
    ]


def _backward(
    policy: Policy,
    config: TrainConfig,
    rollouts: list[Rollout],
    rewards: list[list[float]],
    *,
    num_judged: int = 2,
    baseline: Baseline = "group",
) -> UpdateLosses | None:
    for parameter in trainable_parameters(policy.transformer):
        parameter.grad = None
    advantages = group_advantages(torch.tensor(rewards), baseline=baseline, scale="none", clip=5.0)
    return backward_rpo(
        policy, rollouts, advantages, num_judged=num_judged, config=config, backward=lambda loss: loss.backward()
    )


def _gradient(policy: Policy) -> torch.Tensor:
    return torch.cat(
        [
            parameter.grad.flatten()
            for parameter in trainable_parameters(policy.transformer)
            if parameter.grad is not None
        ]
    )


def test_a_step_along_the_gradient_makes_the_preferred_candidate_likelier_than_the_other(
    policy: Policy, config: TrainConfig
) -> None:
    rollouts = _rollouts(policy, config)
    _backward(policy, config, rollouts, [[1.0, -1.0], [-1.0, 1.0]])
    with torch.no_grad():
        for parameter in trainable_parameters(policy.transformer):
            if parameter.grad is not None:
                parameter.sub_(50.0 * parameter.grad)
    gains = torch.zeros(2)
    for rollout in rollouts:
        for step in rollout.steps:
            mean = mean_of_step(policy, step, rollout.conditioning, config.rollout)
            ratio = gaussian_log_ratio(step.next_latents_BND, mean, step.mean_BND, step.std, reduction="mean")
            preferred = 0 if rollout is rollouts[0] else 1
            gains += torch.stack([ratio[preferred], ratio[1 - preferred]]).detach()
    assert gains[0] > gains[1]


def test_a_tied_group_has_no_gradient_of_its_own_but_halves_the_mean(policy: Policy, config: TrainConfig) -> None:
    rollouts = _rollouts(policy, config)
    _backward(policy, config, rollouts[:1], [[1.0, -1.0]], num_judged=1)
    alone = _gradient(policy)
    _backward(policy, config, rollouts, [[1.0, -1.0], [NAN, NAN]], num_judged=2)
    torch.testing.assert_close(_gradient(policy), alone / 2)


def test_a_failed_group_counts_nowhere(policy: Policy, config: TrainConfig) -> None:
    rollouts = _rollouts(policy, config)
    _backward(policy, config, rollouts[:1], [[1.0, -1.0]], num_judged=1)
    alone = _gradient(policy)
    _backward(policy, config, rollouts, [[1.0, -1.0], [NAN, NAN]], num_judged=1)
    torch.testing.assert_close(_gradient(policy), alone)


def test_when_nothing_was_scored_there_is_nothing_to_learn_and_no_gradient(policy: Policy, config: TrainConfig) -> None:
    assert _backward(policy, config, _rollouts(policy, config), [[NAN, NAN], [NAN, NAN]]) is None
    assert all(parameter.grad is None for parameter in trainable_parameters(policy.transformer))


def test_swapping_the_rewards_of_a_pair_turns_the_gradient_round(policy: Policy, config: TrainConfig) -> None:
    rollouts = _rollouts(policy, config)
    _backward(policy, config, rollouts, [[1.0, -1.0], [1.0, -1.0]])
    gradient = _gradient(policy)
    _backward(policy, config, rollouts, [[-1.0, 1.0], [-1.0, 1.0]])
    torch.testing.assert_close(_gradient(policy), -gradient)


def test_the_kl_pulls_a_moved_adapter_back_and_is_reported(
    policy: Policy, make_config: Callable[..., TrainConfig]
) -> None:
    config = make_config(loss={"kl_weight": 1.0, "clip_range": 10.0})
    with torch.no_grad():
        for parameter in trainable_parameters(policy.transformer):
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)) * 0.05)
    rollouts = _rollouts(policy, config)
    losses = _backward(policy, config, rollouts, [[1.0, -1.0], [1.0, -1.0]])
    assert losses is not None
    kl = losses.record(grad_norm=0.0).kl
    assert kl is not None
    assert kl > 1e-4
    with_kl = _gradient(policy)
    _backward(policy, make_config(loss={"kl_weight": 0.0, "clip_range": 10.0}), rollouts, [[1.0, -1.0], [1.0, -1.0]])
    pull = with_kl - _gradient(policy)
    with torch.no_grad():
        position = 0
        for parameter in trainable_parameters(policy.transformer):
            if parameter.grad is not None:
                parameter.sub_(pull[position : position + parameter.numel()].view_as(parameter))
                position += parameter.numel()
    after = _backward(policy, config, rollouts, [[1.0, -1.0], [1.0, -1.0]])
    assert after is not None
    kl_after = after.record(grad_norm=0.0).kl
    assert kl_after is not None
    assert kl_after < kl


def test_the_log_ratio_to_the_reference_shifts_all_advantages_and_nothing_else(
    policy: Policy, make_config: Callable[..., TrainConfig]
) -> None:
    # At ratio 1 the gradient of −A·r + β·log p is that of −(A − β)·r: as if every candidate had earned β less.
    published = make_config(loss={"kl": "log_ratio", "kl_weight": 0.25, "baseline": "none"})
    rollouts = _rollouts(policy, published)
    _backward(policy, published, rollouts, [[1.0, 0.0], [0.5, 2.0]], baseline="none")
    gradient = _gradient(policy)
    plain = make_config(loss={"kl_weight": 0.0})
    _backward(policy, plain, rollouts, [[0.75, -0.25], [0.25, 1.75]], baseline="none")
    torch.testing.assert_close(gradient, _gradient(policy), rtol=1e-4, atol=1e-7)


def test_the_exact_kl_of_a_fresh_adapter_has_neither_value_nor_gradient(
    policy: Policy, make_config: Callable[..., TrainConfig]
) -> None:
    config = make_config(loss={"kl_weight": 1.0})
    losses = _backward(policy, config, _rollouts(policy, config), [[0.0, 0.0], [0.0, 0.0]], baseline="none")
    assert losses is not None
    assert losses.record(grad_norm=0.0).kl == 0.0
    assert not _gradient(policy).any()


def test_only_the_steps_of_the_window_are_trained_on_and_counted(
    policy: Policy, make_config: Callable[..., TrainConfig]
) -> None:
    config = make_config(rollout={"window": 3})
    rollouts, passes = _rollouts(policy, config), list[None]()
    policy.transformer.register_forward_pre_hook(lambda module, inputs: passes.append(None))
    losses = _backward(policy, config, rollouts, [[1.0, -1.0], [NAN, NAN]])
    assert losses is not None
    assert losses.num_counted == 2 * 3  # candidates × steps
    assert len(passes) == 2 * 3  # rollouts × steps
