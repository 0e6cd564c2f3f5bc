import torch

from trainer.algorithms.advantages import group_advantages

NAN = float("nan")


def test_centring_subtracts_the_groups_own_mean() -> None:
    # The paper's +1.0 / −0.1 has mean 0.45: centred it is ±0.55.
    advantages = group_advantages(torch.tensor([[1.0, -0.1], [-0.1, 1.0]]), centre=True, clip=5.0)
    torch.testing.assert_close(advantages.values_PG, torch.tensor([[0.55, -0.55], [-0.55, 0.55]]))
    assert advantages.mask_PG.all()


def test_without_centring_the_reward_is_the_advantage_up_to_the_clip() -> None:
    advantages = group_advantages(torch.tensor([[3.0, -0.1]]), centre=False, clip=2.0)
    torch.testing.assert_close(advantages.values_PG, torch.tensor([[2.0, -0.1]]))


def test_a_group_without_rewards_is_masked_and_no_number_stands_in_for_it() -> None:
    advantages = group_advantages(torch.tensor([[NAN, NAN], [1.0, -1.0]]), centre=True, clip=5.0)
    assert advantages.mask_PG.tolist() == [[False, False], [True, True]]
    assert advantages.values_PG.tolist() == [[0.0, 0.0], [1.0, -1.0]]


def test_half_a_comparison_is_none() -> None:
    advantages = group_advantages(torch.tensor([[1.0, NAN]]), centre=True, clip=5.0)
    assert not advantages.mask_PG.any()
    assert not advantages.values_PG.any()
