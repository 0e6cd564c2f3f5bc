from collections.abc import Callable
from itertools import pairwise

import pytest
import torch

from trainer.algorithms.sde import gaussian_log_ratio
from trainer.config import TrainConfig
from trainer.data import Example
from trainer.errors import TrainingDiverged
from trainer.policies import load_policy
from trainer.policies.base import Policy
from trainer.policies.lora import trainable_parameters
from trainer.rollout import Rollout, mean_of_step, sample_rollout

EXAMPLES = (Example("a red circle"), Example("a blue square"))


@pytest.fixture
def config(make_config: Callable[..., TrainConfig]) -> TrainConfig:
    return make_config()


@pytest.fixture
def policy(config: TrainConfig) -> Policy:
    return load_policy(config, examples=EXAMPLES, device=torch.device("cpu"))


def _rollout(policy: Policy, config: TrainConfig, **options: int) -> Rollout:
    where = {"seed": 0, "step": 3, "first_group": 0} | options
    return sample_rollout(policy, EXAMPLES, config=config.rollout, **where)


def test_all_steps_but_the_last_are_stochastic(policy: Policy, config: TrainConfig) -> None:
    rollout = _rollout(policy, config)
    assert [step.index for step in rollout.steps] == list(range(7))
    assert rollout.images_B3HW.shape == (4, 3, 32, 32)
    assert rollout.images_B3HW.min() >= 0
    assert rollout.images_B3HW.max() <= 1


def test_each_step_continues_where_the_one_before_ended(policy: Policy, config: TrainConfig) -> None:
    steps = _rollout(policy, config).steps
    for step, following in pairwise(steps):
        assert torch.equal(step.next_latents_BND, following.latents_BND)


def test_candidates_share_their_first_noise_and_then_part(policy: Policy, config: TrainConfig) -> None:
    first, second = _rollout(policy, config).steps[0].latents_BND[:2]
    assert torch.equal(first, second)
    apart = _rollout(policy, config).images_B3HW
    assert not torch.equal(apart[0], apart[1])


def test_candidates_start_apart_when_asked_to(policy: Policy, make_config: Callable[..., TrainConfig]) -> None:
    rollout = _rollout(policy, make_config(rollout={"same_initial_noise": False}))
    assert not torch.equal(*rollout.steps[0].latents_BND[:2])


def test_noise_depends_on_seed_step_and_group_but_not_on_the_micro_batch(policy: Policy, config: TrainConfig) -> None:
    whole = _rollout(policy, config)
    second_half = sample_rollout(policy, EXAMPLES[1:], config=config.rollout, seed=0, step=3, first_group=1)
    torch.testing.assert_close(whole.images_B3HW[2:], second_half.images_B3HW, atol=1e-5, rtol=0)
    assert whole.group_ids == ("3-0", "3-1")
    for changed in ({"seed": 1}, {"step": 4}, {"first_group": 2}):
        assert not torch.equal(whole.steps[0].latents_BND, _rollout(policy, config, **changed).steps[0].latents_BND)


def test_an_image_that_is_not_finite_is_divergence_and_never_posted(policy: Policy, config: TrainConfig) -> None:
    with torch.no_grad():
        trainable_parameters(policy.transformer)[0].fill_(float("nan"))
    with pytest.raises(TrainingDiverged, match="NaN"):
        _rollout(policy, config)


def test_the_ratio_of_an_untouched_policy_is_one_at_every_step(policy: Policy, config: TrainConfig) -> None:
    rollout = _rollout(policy, config)
    for step in rollout.steps:
        mean = mean_of_step(policy, step, rollout.conditioning, config.rollout)
        log_ratio = gaussian_log_ratio(step.next_latents_BND, mean, step.mean_BND, step.std, reduction="mean")
        assert (log_ratio.exp() - 1).abs().max().item() < 1e-5
