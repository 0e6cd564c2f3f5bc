from collections.abc import Callable
from itertools import pairwise

import pytest
import torch

from trainer.algorithms.sde import STEP_RULES, gaussian_log_ratio
from trainer.config import TrainConfig
from trainer.data import Example
from trainer.errors import TrainingDiverged
from trainer.policies import load_policy
from trainer.policies.base import Policy
from trainer.policies.lora import trainable_parameters
from trainer.rollout import Rollout, mean_of_step, sample_rollout, stochastic_window

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


def test_a_window_is_sampled_stochastically_and_everything_around_it_deterministically(
    policy: Policy, make_config: Callable[..., TrainConfig]
) -> None:
    config = make_config(rollout={"window": 2})
    windows = {tuple(taken.index for taken in _rollout(policy, config, step=step).steps) for step in range(10)}
    assert all(second == first + 1 for first, second in windows)
    assert all(0 <= first <= 5 for first, _ in windows)
    rollout = _rollout(policy, config, step=_step_with_window_at(3, config))
    before = rollout.steps[0].latents_BND[:2]
    assert torch.equal(*before)  # candidates part where the window begins: up to there, no noise was drawn
    for taken in rollout.steps:
        noise = (taken.next_latents_BND - taken.mean_BND) / taken.std
        assert 0.8 < float(noise.std()) < 1.2


def _step_with_window_at(first: int, config: TrainConfig) -> int:
    return next(step for step in range(100) if stochastic_window(config.rollout, 8, seed=0, step=step)[0] == first)


def test_windows_come_up_equally_often_and_are_a_function_of_seed_and_step(
    make_config: Callable[..., TrainConfig],
) -> None:
    config = make_config(rollout={"window": 3}).rollout
    starts = [stochastic_window(config, 8, seed=0, step=step)[0] for step in range(1000)]
    assert {starts.count(first) > 150 for first in range(5)} == {True}  # 200 each on average, deviation 13
    assert starts == [stochastic_window(config, 8, seed=0, step=step)[0] for step in range(1000)]
    assert starts != [stochastic_window(config, 8, seed=1, step=step)[0] for step in range(1000)]


def test_without_a_window_every_step_but_the_last_may_be_stochastic(config: TrainConfig) -> None:
    assert stochastic_window(config.rollout, 8, seed=0, step=5) == range(7)


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


@pytest.mark.parametrize("rule", STEP_RULES)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 5e-5)])
def test_the_ratio_of_an_untouched_policy_is_one_at_every_step(
    make_config: Callable[..., TrainConfig], rule: str, dtype: str, tolerance: float
) -> None:
    config = make_config(model={"dtype": dtype}, rollout={"step": rule, "eta": 0.3})
    policy = load_policy(config, examples=EXAMPLES, device=torch.device("cpu"))
    rollout = _rollout(policy, config)
    for step in rollout.steps:
        mean = mean_of_step(policy, step, rollout.conditioning, config.rollout).detach()
        log_ratio = gaussian_log_ratio(step.next_latents_BND, mean, step.mean_BND, step.std, reduction="mean")
        assert (log_ratio.exp() - 1).abs().max().item() < tolerance
