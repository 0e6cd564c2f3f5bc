import itertools
import math

import pytest
import torch
from torch import Tensor

from trainer.algorithms.sde import (
    STEP_RULES,
    Reduce,
    StepRule,
    cps_transition,
    dance_transition,
    flow_transition,
    gaussian_kl,
    gaussian_log_prob,
    gaussian_log_ratio,
)

ONE, TWO = torch.full((1, 1, 1), 1.0), torch.full((1, 1, 1), 2.0)


def test_a_cps_step_matches_the_numbers_worked_out_by_hand() -> None:
    # s = 0.8, s' = 0.5, eta = 1/3: sin(30°) = 0.5, cos(30°) = √3/2.
    # x = 1, v = 2: x0 = 1 − 1.6 = −0.6, x1 = 1 + 0.4 = 1.4.
    step = cps_transition(torch.full((1, 1, 1), 1.0), torch.full((1, 1, 1), 2.0), 0.8, 0.5, 1 / 3)
    assert step.std == pytest.approx(0.25)
    assert step.mean_BND.item() == pytest.approx(0.5 * -0.6 + 0.5 * math.sqrt(3) / 2 * 1.4)


def test_a_dance_step_matches_the_numbers_worked_out_by_hand() -> None:
    # s = 0.8, s' = 0.55, eta = 0.4, x = 1, v = 2: x1 = 1.4, drift = 2 + 0.16/1.6·1.4 = 2.14, dt = −0.25.
    step = dance_transition(ONE, TWO, 0.8, 0.55, 0.4)
    assert step.std == pytest.approx(0.4 * 0.5)
    assert step.mean_BND.item() == pytest.approx(1 - 2.14 * 0.25)


def test_a_flow_step_matches_the_numbers_worked_out_by_hand() -> None:
    # s = 0.8: sigma = 0.5·√(0.8/0.2) = 1, drift = 2 + 1/1.6·1.4 = 2.875, dt = −0.25.
    step = flow_transition(ONE, TWO, 0.8, 0.55, 0.5)
    assert step.std == pytest.approx(0.5)
    assert step.mean_BND.item() == pytest.approx(1 - 2.875 * 0.25)


def test_the_first_flow_step_is_finite_because_its_denominator_takes_the_next_sigma() -> None:
    # s = 1, s' = 0.75: sigma = 0.5·√(1/0.25) = 1; x1 = x, drift = 2 + 1/2·1 = 2.5.
    step = flow_transition(ONE, TWO, 1.0, 0.75, 0.5)
    assert step.std == pytest.approx(0.5)
    assert step.mean_BND.item() == pytest.approx(1 - 2.5 * 0.25)


def _as_published(name: str, x: Tensor, v: Tensor, s: float, s_next: float, eta: float) -> tuple[Tensor, float]:
    """Mean and std as the papers' own code has them, which is not how ours puts it."""
    dt = s_next - s
    match name:
        case "dance":  # arXiv 2505.07818: Euler step along v, plus η²/2·score with score = −(x − (1 − s)·x0)/s²
            score = -(x - (1 - s) * (x - s * v)) / s**2
            return x + v * dt - 0.5 * eta**2 * score * dt, eta * math.sqrt(-dt)
        case "flow":  # arXiv 2505.05470: x·(1 + σ²/(2s)·dt) + v·(1 + σ²·(1 − s)/(2s))·dt
            sigma = eta * math.sqrt(s / (1 - (s_next if s == 1 else s)))
            mean = x * (1 + sigma**2 / (2 * s) * dt) + v * (1 + sigma**2 * (1 - s) / (2 * s)) * dt
            return mean, sigma * math.sqrt(-dt)
        case _:  # arXiv 2509.05952
            std = s_next * math.sin(eta * math.pi / 2)
            return (x - s * v) * (1 - s_next) + (x + v * (1 - s)) * math.sqrt(s_next**2 - std**2), std


@pytest.mark.parametrize("name", STEP_RULES)
@pytest.mark.parametrize("eta", [0.1, 0.3, 0.7, 0.9])
def test_every_step_of_a_schedule_agrees_with_the_papers_own_formula_in_float64(name: str, eta: float) -> None:
    source = torch.Generator().manual_seed(5)
    x, v = torch.randn(2, 1, 4, 64, generator=source, dtype=torch.float64)
    for s, s_next in itertools.pairwise(3 * u / (1 + 2 * u) for u in (1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125)):
        step = STEP_RULES[name](x, v, s, s_next, eta)
        mean, std = _as_published(name, x, v, s, s_next, eta)
        assert step.std == pytest.approx(std, rel=1e-12)
        torch.testing.assert_close(step.mean_BND, mean, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        # s = 0.8, s' = 0.55: dt = −0.25.
        (dance_transition, -0.25 * (1 + 0.5**2 / 1.6 * 0.2)),  # dt·(1 + σ²/(2s)·(1 − s)), σ = 0.5
        (flow_transition, -0.25 * (1 + 1.0 / 1.6 * 0.2)),  # σ = 0.5·√(0.8/0.2) = 1
        (cps_transition, -0.8 * 0.45 + 0.2 * 0.55 * math.sqrt(0.5)),  # −s·(1 − s') + (1 − s)·s'·cos(45°)
    ],
)
def test_the_gradient_with_respect_to_the_models_output_is_the_one_worked_out_by_hand(
    rule: StepRule, expected: float
) -> None:
    velocity = torch.full((1, 1, 1), 2.0, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(rule(ONE.double(), velocity, 0.8, 0.55, 0.5).mean_BND.sum(), velocity)
    assert gradient.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("rule", STEP_RULES.values(), ids=STEP_RULES)
def test_eta_zero_is_the_deterministic_euler_step(rule: StepRule) -> None:
    latents, velocity = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0)), torch.ones(2, 4, 8)
    step = rule(latents, velocity, 0.9, 0.6, 0.0)
    assert not step.is_stochastic
    torch.testing.assert_close(step.mean_BND, latents + velocity * (0.6 - 0.9))


@pytest.mark.parametrize("rule", STEP_RULES.values(), ids=STEP_RULES)
def test_the_last_step_decodes_the_predicted_image_and_has_no_noise(rule: StepRule) -> None:
    latents, velocity = torch.full((1, 1, 2), 0.7), torch.full((1, 1, 2), 0.5)
    step = rule(latents, velocity, 0.3, 0.0, 0.9)
    assert step.std == 0.0
    torch.testing.assert_close(step.mean_BND, latents - 0.3 * velocity)


@pytest.mark.parametrize("rule", [dance_transition, flow_transition])
def test_small_sde_steps_keep_the_noise_level_of_the_flow(rule: StepRule) -> None:
    # Along the way x0 = 0, ε ~ N(0, 1): x = s·ε, v = ε. An SDE with the flow's marginals ends at deviation s'.
    source = torch.Generator().manual_seed(4)
    latents, sigmas = torch.randn(1, 1, 100_000, generator=source), torch.linspace(1.0, 0.5, 201).tolist()
    for sigma, sigma_next in itertools.pairwise(sigmas):
        step = rule(latents, latents / sigma, sigma, sigma_next, 0.3)
        latents = step.mean_BND + step.std * torch.randn(latents.shape, generator=source)
    assert latents.std().item() == pytest.approx(0.5, rel=2e-2)


@pytest.mark.parametrize("eta", [0.1, 0.5, 0.9])
def test_cps_keeps_the_noise_level_that_the_schedule_asks_for(eta: float) -> None:
    # Along the way x0 = 0, ε ~ N(0, 1): x = s·ε, v = ε. The next sample's deviation must be s', whatever eta.
    noise, fresh = torch.randn(2, 1, 200_000, generator=torch.Generator().manual_seed(1))
    step = cps_transition(0.8 * noise[None], noise[None], 0.8, 0.6, eta)
    sample = step.mean_BND + step.std * fresh
    assert sample.std().item() == pytest.approx(0.6, rel=5e-3)


def test_log_prob_is_the_density_of_the_normal_distribution() -> None:
    sample, mean = torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[0.0, 2.5]]])
    expected = torch.distributions.Normal(mean.double(), 0.5).log_prob(sample.double()).flatten()
    torch.testing.assert_close(gaussian_log_prob(sample, mean, 0.5, reduction="sum"), expected.sum()[None])
    torch.testing.assert_close(gaussian_log_prob(sample, mean, 0.5, reduction="mean"), expected.mean()[None])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_log_ratio_is_the_difference_of_two_log_probs(reduction: Reduce) -> None:
    source = torch.Generator().manual_seed(2)
    sample, new, old = (torch.randn(3, 4, 8, generator=source) for _ in range(3))
    new_log_prob = gaussian_log_prob(sample, new, 0.7, reduction=reduction)
    old_log_prob = gaussian_log_prob(sample, old, 0.7, reduction=reduction)
    log_ratio = gaussian_log_ratio(sample, new, old, 0.7, reduction=reduction)
    torch.testing.assert_close(log_ratio, new_log_prob - old_log_prob)


def test_equal_means_give_a_ratio_of_exactly_one_even_when_65536_dimensions_are_summed() -> None:
    source = torch.Generator().manual_seed(3)
    sample, mean = torch.randn(1, 1024, 64, generator=source), torch.randn(1, 1024, 64, generator=source)
    assert gaussian_log_ratio(sample, mean, mean.clone(), 0.3, reduction="sum").exp().item() == 1.0


def test_a_sum_over_65536_dimensions_keeps_nine_digits_where_float32_keeps_two() -> None:
    # new − old = 2⁻²⁰ exactly and x = old, so the sum is −65,536·2⁻⁴⁰/(2·0.25) = −2⁻²³.
    old = torch.randint(-4, 4, (1, 1024, 64), generator=torch.Generator().manual_seed(6)).float() / 4
    new = old + 2.0**-20
    found = gaussian_log_ratio(old, new, old, 0.5, reduction="sum").item()
    assert found == pytest.approx(-(2.0**-23), rel=1e-9)
    log_probs = [(-((old - mean) ** 2) / 0.5 - math.log(0.5)).sum() for mean in (new, old)]
    assert abs((log_probs[0] - log_probs[1]).item() - found) > 0.01 * abs(found)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_gradient_of_the_log_ratio_is_the_one_worked_out_by_hand(reduction: Reduce) -> None:
    # d/dm log N(x; m, std²) = (x − m)/std² in each dimension, divided by their number for the mean.
    source = torch.Generator().manual_seed(7)
    sample, new, old = torch.randn(3, 2, 4, 8, generator=source, dtype=torch.float64)
    new.requires_grad_()
    (gradient,) = torch.autograd.grad(gaussian_log_ratio(sample, new, old, 0.3, reduction=reduction).sum(), new)
    torch.testing.assert_close(gradient, (sample - new.detach()) / 0.3**2 / (32 if reduction == "mean" else 1))


def test_the_log_ratio_to_the_reference_has_the_value_of_the_kl_but_does_not_pull() -> None:
    # On-policy: samples from N(mean, 0.5²), the reference 0.2 away. KL = 0.04/(2·0.25) = 0.08, its gradient 0.2/0.25.
    mean = torch.full((40_000, 1, 1), 0.2, dtype=torch.float64, requires_grad=True)
    sample = mean.detach() + 0.5 * torch.randn(mean.shape, generator=torch.Generator().manual_seed(8))
    reference = torch.zeros_like(sample)
    log_ratio = gaussian_log_ratio(sample, mean, reference, 0.5, reduction="mean")
    kl = gaussian_kl(mean, reference, 0.5, reduction="mean")
    assert log_ratio.mean().item() == pytest.approx(0.08, abs=0.01)
    assert kl.mean().item() == pytest.approx(0.08)
    (noise,) = torch.autograd.grad(log_ratio.sum(), mean)
    (pull,) = torch.autograd.grad(kl.sum(), mean)
    assert noise.mean().item() == pytest.approx(0.0, abs=0.05)  # ± 0.01: (x − m)/std² has deviation 2 over 40,000
    assert noise.std().item() == pytest.approx(2.0, rel=0.02)
    assert pull.unique().tolist() == pytest.approx([0.8])


def test_kl_matches_torch_and_pulls_the_mean_towards_the_reference() -> None:
    mean = torch.tensor([[[1.0, -2.0]]], requires_grad=True)
    reference = torch.tensor([[[0.5, 0.0]]])
    kl = gaussian_kl(mean, reference, 0.5, reduction="sum")
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mean.detach(), 0.5), normal(reference, 0.5)).sum()
    assert kl.item() == pytest.approx(expected.item())
    kl.backward()
    # d/dm (m − r)²/(2·0.25) = (m − r)/0.25
    torch.testing.assert_close(mean.grad, torch.tensor([[[2.0, -8.0]]]))
