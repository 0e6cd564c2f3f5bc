"""The solver against a plain reference, and what must make no difference to it."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from services.rubric_worker.methods.autorubric_t2i.sparse_logistic import fit, losses, optimality_violation
from tests.rubric_worker.methods.autorubric_t2i.simulated import simulate, true_weights


def by_proximal_gradient(differences: NDArray[Any], c: float) -> NDArray[Any]:
    """The same minimum by FISTA: a step down the slope of the loss, then every weight shrunk towards 0."""
    step = 4 / (c * np.linalg.norm(differences, 2) ** 2)
    weights = ahead = np.zeros(differences.shape[1])
    momentum = 1.0
    for _ in range(5_000):
        slope = -c * differences.T @ (1 / (1 + np.exp(differences @ ahead)))
        moved = ahead - step * slope
        after = np.sign(moved) * np.maximum(np.abs(moved) - step, 0)
        momentum_after = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = after + (momentum - 1) / momentum_after * (after - weights)
        weights, momentum = after, momentum_after
    return weights


@pytest.mark.parametrize("c", [0.05, 0.3, 1.0, 5.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_weights_are_those_of_a_plain_reference_optimiser(c: float, seed: int) -> None:
    differences = simulate(60, true_weights(seed, num_candidates=12), seed=seed).differences
    np.testing.assert_allclose(fit(differences, c=c, seed=0), by_proximal_gradient(differences, c), atol=1e-5)


def test_one_criterion_has_the_weight_that_one_works_out_by_hand() -> None:
    # Σ over 4 pairs with D = 1: |w| + 4 C log(1 + e^−w) is least where 1 = 4 C σ(−w); C = 1 gives w = log 3.
    assert fit(np.ones((4, 1)), c=1.0, seed=0) == pytest.approx([np.log(3)], abs=1e-6)
    assert fit(np.ones((4, 1)), c=0.4, seed=0) == pytest.approx([0.0])  # 4 C / 2 < 1: the penalty wins


def test_which_rows_are_turned_round_makes_no_difference() -> None:
    differences = simulate(80, true_weights(3, num_candidates=20), seed=3).differences
    for seed in range(1, 5):
        np.testing.assert_allclose(fit(differences, c=1.0, seed=seed), fit(differences, c=1.0, seed=0), atol=1e-5)


def test_the_order_of_the_rows_makes_no_difference() -> None:
    differences = simulate(80, true_weights(4, num_candidates=20), seed=4).differences
    shuffled = np.random.default_rng(0).permutation(differences)
    np.testing.assert_allclose(fit(shuffled, c=1.0, seed=0), fit(differences, c=1.0, seed=0), atol=1e-5)


def test_swapping_the_labels_turns_the_weights() -> None:
    differences = simulate(80, true_weights(5, num_candidates=20), seed=5).differences
    np.testing.assert_allclose(fit(-differences, c=1.0, seed=0), -fit(differences, c=1.0, seed=0), atol=1e-5)


def test_a_criterion_that_is_there_twice_shares_its_weight_and_changes_nothing_else() -> None:
    differences = simulate(80, true_weights(6, num_candidates=20), seed=6).differences
    once = fit(differences, c=1.0, seed=0)
    twice = fit(np.column_stack([differences, differences[:, 0]]), c=1.0, seed=0)
    assert once[0] > 0
    assert twice[0] + twice[-1] == pytest.approx(once[0], abs=1e-5)
    np.testing.assert_allclose(twice[1:-1], once[1:], atol=1e-5)


def test_criteria_that_never_tell_images_apart_get_no_weight_and_do_no_harm() -> None:
    differences = simulate(80, true_weights(7, num_candidates=20), seed=7).differences
    with_constant = fit(np.column_stack([differences, np.zeros(80)]), c=1.0, seed=0)
    assert with_constant[-1] == 0
    np.testing.assert_allclose(with_constant[:-1], fit(differences, c=1.0, seed=0), atol=1e-5)


def test_pairs_that_all_say_the_same_are_no_hindrance() -> None:
    """All labels can be "the first image": differences are already turned towards what people prefer."""
    assert fit(np.full((10, 2), [0.5, 0.0]), c=1.0, seed=0)[0] > 0


def test_a_violation_of_the_optimality_conditions_is_measured() -> None:
    differences = np.ones((4, 1))
    assert optimality_violation(differences, np.array([np.log(3)]), c=1.0) == pytest.approx(0, abs=1e-12)
    assert optimality_violation(differences, np.array([0.0]), c=1.0) == pytest.approx(1.0)  # slope 2, bound 1
    assert optimality_violation(differences, np.array([0.0]), c=0.4) == 0.0


def test_the_loss_is_the_surprise_about_what_people_prefer() -> None:
    assert losses(np.array([[1.0], [-1.0]]), np.array([np.log(3)])) == pytest.approx([np.log(4 / 3), np.log(4)])


@pytest.mark.parametrize("num_rows", [2, 3])
def test_two_pairs_are_enough_to_fit(num_rows: int) -> None:
    assert fit(np.ones((num_rows, 1)), c=10.0, seed=0)[0] > 0
