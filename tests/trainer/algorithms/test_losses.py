import math

import pytest
import torch

from trainer.algorithms.losses import LossInputs, LossOutputs, rpo_loss


def _loss(
    log_ratios: list[float], advantages: list[float], *, clip_range: float = 0.2, **options: object
) -> LossOutputs:
    mask = options.get("mask", [True] * len(log_ratios))
    kl = options.get("kl")
    inputs = LossInputs(
        log_ratio_B=torch.tensor(log_ratios),
        advantages_B=torch.tensor(advantages),
        mask_B=torch.tensor(mask),
        kl_B=None if kl is None else torch.tensor(kl),
    )
    return rpo_loss(inputs, clip_range=clip_range, kl_weight=0.1, normaliser=int(inputs.mask_B.sum()))


def test_at_ratio_one_the_loss_is_minus_the_mean_advantage() -> None:
    assert _loss([0.0, 0.0], [1.0, -0.1]).loss.item() == pytest.approx(-0.45)


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [
        (1.5, 1.0, -1.2),  # moved far towards a good candidate: no more reward beyond 1 + ε
        (0.5, 1.0, -0.5),  # moved away from a good candidate: the full loss pulls back
        (0.5, -1.0, 0.8),  # moved far away from a bad candidate: no more reward beyond 1 − ε
        (1.5, -1.0, 1.5),  # moved towards a bad candidate: the full loss pushes back
    ],
)
def test_clipping_is_one_sided(ratio: float, advantage: float, expected: float) -> None:
    outputs = _loss([math.log(ratio)], [advantage])
    assert outputs.loss.item() == pytest.approx(expected)
    assert outputs.clipped == 1


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [
        (1.5, 1.0, 0.0),  # beyond the clip on the good side: no more gradient
        (0.5, -1.0, 0.0),
        (0.5, 1.0, -0.5),  # beyond it on the bad side: d(−A·r)/d log r = −A·r, unclipped
        (1.5, -1.0, 1.5),
        (1.1, 2.0, -2.2),  # within it
        (1.0, -0.1, 0.1),
    ],
)
def test_the_clipped_losses_gradient_is_the_one_worked_out_by_hand(
    ratio: float, advantage: float, expected: float
) -> None:
    log_ratio = torch.tensor([math.log(ratio), 0.0], dtype=torch.float64, requires_grad=True)
    inputs = LossInputs(
        log_ratio_B=log_ratio,
        advantages_B=torch.tensor([advantage, 0.0], dtype=torch.float64),
        mask_B=torch.tensor([True, True]),
        kl_B=None,
    )
    rpo_loss(inputs, clip_range=0.2, kl_weight=0.0, normaliser=4).loss.backward()
    assert log_ratio.grad is not None
    assert log_ratio.grad.tolist() == pytest.approx([expected / 4, 0.0])


def test_a_masked_candidate_has_neither_loss_nor_gradient() -> None:
    log_ratio = torch.zeros(2, requires_grad=True)
    inputs = LossInputs(
        log_ratio_B=log_ratio,
        advantages_B=torch.tensor([1.0, 1.0]),
        mask_B=torch.tensor([True, False]),
        kl_B=torch.tensor([0.0, 100.0]),
    )
    rpo_loss(inputs, clip_range=0.2, kl_weight=1.0, normaliser=1).loss.backward()
    assert log_ratio.grad is not None
    assert log_ratio.grad.tolist() == [-1.0, 0.0]


def test_kl_is_added_with_its_weight_and_reported_over_counted_candidates_only() -> None:
    outputs = _loss([0.0, 0.0], [1.0, 1.0], mask=[True, False], kl=[0.5, 7.0])
    assert outputs.loss.item() == pytest.approx(-1.0 + 0.1 * 0.5)
    assert outputs.kl_sum == pytest.approx(0.5)


def test_slices_of_an_update_add_up_to_its_mean() -> None:
    whole = _loss([0.1, -0.1, 0.05, 0.0], [1.0, -1.0, 1.0, -1.0]).loss
    parts = [
        rpo_loss(
            LossInputs(
                log_ratio_B=torch.tensor(log_ratios),
                advantages_B=torch.tensor([1.0, -1.0]),
                mask_B=torch.tensor([True, True]),
                kl_B=None,
            ),
            clip_range=0.2,
            kl_weight=0.1,
            normaliser=4,
        ).loss
        for log_ratios in ([0.1, -0.1], [0.05, 0.0])
    ]
    torch.testing.assert_close(sum(parts), whole)
