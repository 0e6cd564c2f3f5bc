import pytest
import torch

from trainer.algorithms.advantages import Scale, group_advantages

NAN = float("nan")


def test_centring_subtracts_the_groups_own_mean() -> None:
    # The paper's +1.0 / −0.1 has mean 0.45: centred it is ±0.55.
    rewards = torch.tensor([[1.0, -0.1], [-0.1, 1.0]])
    advantages = group_advantages(rewards, baseline="group", scale="none", clip=5.0)
    torch.testing.assert_close(advantages.values_PG, torch.tensor([[0.55, -0.55], [-0.55, 0.55]]))
    assert advantages.mask_PG.all()


def test_without_a_baseline_the_reward_is_the_advantage_up_to_the_clip() -> None:
    advantages = group_advantages(torch.tensor([[3.0, -0.1]]), baseline="none", scale="none", clip=2.0)
    torch.testing.assert_close(advantages.values_PG, torch.tensor([[2.0, -0.1]]))


def test_group_relative_advantages_are_in_standard_deviations_of_their_own_group() -> None:
    # Means 2 and 0.5, deviations √2 and 0.5: the size of the rewards is gone, their order and distances are not.
    rewards = torch.tensor([[0.0, 2.0, 2.0, 4.0], [0.0, 1.0, 0.0, 1.0]])
    advantages = group_advantages(rewards, baseline="group", scale="group", clip=5.0)
    root = 2**0.5
    expected = torch.tensor([[-root, 0.0, 0.0, root], [-1.0, 1.0, -1.0, 1.0]])
    torch.testing.assert_close(advantages.values_PG, expected)


def test_one_deviation_for_the_whole_step_keeps_clear_groups_louder_than_faint_ones() -> None:
    # Centred: ±3 and ±1; deviation √((9 + 9 + 1 + 1)/4) = √5.
    advantages = group_advantages(torch.tensor([[6.0, 0.0], [0.0, 2.0]]), baseline="group", scale="batch", clip=5.0)
    expected = torch.tensor([[3.0, -3.0], [-1.0, 1.0]]) / 5**0.5
    torch.testing.assert_close(advantages.values_PG, expected)


@pytest.mark.parametrize("scale", ["group", "batch"])
def test_a_group_of_equal_rewards_leaves_the_loss_and_is_counted(scale: Scale) -> None:
    rewards = torch.tensor([[0.3, 0.3, 0.3], [0.0, 1.0, 2.0], [NAN, NAN, NAN]])
    advantages = group_advantages(rewards, baseline="group", scale=scale, clip=5.0)
    assert advantages.mask_PG.tolist() == [[False] * 3, [True] * 3, [False] * 3]
    assert advantages.num_flat == 1
    assert advantages.values_PG[0].tolist() == [0.0, 0.0, 0.0]
    assert advantages.values_PG[1, 1].item() == pytest.approx(0.0)
    assert torch.isfinite(advantages.values_PG).all()


def test_a_step_of_flat_groups_has_no_advantages_at_all() -> None:
    advantages = group_advantages(torch.full((4, 3), 0.5), baseline="group", scale="batch", clip=5.0)
    assert not advantages.mask_PG.any()
    assert advantages.num_flat == 4


def test_a_group_without_rewards_is_masked_and_no_number_stands_in_for_it() -> None:
    rewards = torch.tensor([[NAN, NAN], [1.0, -1.0]])
    advantages = group_advantages(rewards, baseline="group", scale="none", clip=5.0)
    assert advantages.mask_PG.tolist() == [[False, False], [True, True]]
    assert advantages.values_PG.tolist() == [[0.0, 0.0], [1.0, -1.0]]


@pytest.mark.parametrize("scale", ["none", "group", "batch"])
def test_half_a_comparison_is_none(scale: Scale) -> None:
    advantages = group_advantages(torch.tensor([[1.0, NAN]]), baseline="group", scale=scale, clip=5.0)
    assert not advantages.mask_PG.any()
    assert not advantages.values_PG.any()
