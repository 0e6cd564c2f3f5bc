"""Read me before the docs: Rubric Policy Optimization on a problem small enough to follow by hand.

The "model" here has one parameter, the mean of a Gaussian. The "judge" prefers the larger of two samples. Everything
else is the code that trains FLUX.
"""

import pytest
import torch

from trainer.algorithms.advantages import group_advantages
from trainer.algorithms.losses import LossInputs, rpo_loss
from trainer.algorithms.sde import cps_transition, gaussian_kl, gaussian_log_ratio

NAN = float("nan")


def _prefer_larger(samples_PG: torch.Tensor, tie_margin: float) -> torch.Tensor:
    """+1 for the larger candidate of each pair, −1 for the other, and no number at all for a tie."""
    difference = samples_PG[:, 0] - samples_PG[:, 1]
    rewards_PG = torch.stack([difference.sign(), -difference.sign()], dim=1)
    rewards_PG[difference.abs() < tie_margin] = NAN
    return rewards_PG


def test_one_a_denoising_step_is_a_gaussian_so_a_sample_has_a_probability() -> None:
    step = cps_transition(torch.zeros(1, 1, 1), torch.ones(1, 1, 1), sigma=0.8, sigma_next=0.5, eta=0.9)
    assert step.is_stochastic
    last = cps_transition(torch.zeros(1, 1, 1), torch.ones(1, 1, 1), sigma=0.5, sigma_next=0.0, eta=0.9)
    assert not last.is_stochastic  # it only decodes the image, and is not trained on


def test_two_a_tie_has_no_reward_and_leaves_the_loss() -> None:
    rewards_PG = _prefer_larger(torch.tensor([[2.0, 1.0], [1.0, 1.01]]), tie_margin=0.1)
    assert rewards_PG[0].tolist() == [1.0, -1.0]
    assert rewards_PG[1].isnan().all()
    advantages = group_advantages(rewards_PG, baseline="group", scale="none", clip=5.0)
    assert advantages.mask_PG.tolist() == [[True, True], [False, False]]


def test_three_preferences_alone_move_the_model_towards_what_is_preferred() -> None:
    source = torch.Generator().manual_seed(0)
    mean = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([mean], lr=0.05)
    for _ in range(50):
        old_mean = mean.detach().clone()
        samples_PG = old_mean + torch.randn(16, 2, generator=source)
        rewards_PG = _prefer_larger(samples_PG, tie_margin=0.1)
        advantages = group_advantages(rewards_PG, baseline="group", scale="none", clip=5.0)
        samples_BND = samples_PG.flatten()[:, None, None]
        new_mean_BND = mean.expand_as(samples_BND)
        inputs = LossInputs(
            log_ratio_B=gaussian_log_ratio(
                samples_BND, new_mean_BND, old_mean.expand_as(samples_BND), 1.0, reduction="mean"
            ),
            advantages_B=advantages.values_PG.flatten(),
            mask_B=advantages.mask_PG.flatten(),
            kl_B=None,
        )
        optimizer.zero_grad()
        rpo_loss(inputs, clip_range=0.2, kl_weight=0.0, normaliser=32).loss.backward()
        optimizer.step()
    # The judge never said how much better: expected advantage-weighted pull per step is E|x − y|/2 ≈ 0.56.
    assert 0.5 < mean.item() < 2.0


def test_four_the_kl_measures_how_far_the_model_has_gone_and_pulls_it_back() -> None:
    mean = torch.full((1, 1, 1), 0.6, requires_grad=True)
    kl = gaussian_kl(mean, torch.zeros(1, 1, 1), std=1.0, reduction="mean")
    assert kl.item() == pytest.approx(0.18)  # 0.6² / 2
    kl.sum().backward()
    assert mean.grad is not None
    assert mean.grad.item() > 0  # descending it lowers the mean
