"""Parts of a cross-validation, and the rule by which a penalty is taken."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rubric_worker.methods.autorubric_t2i.cross_validation import (
    LeftOut,
    cross_validate,
    grid,
    parts,
    sparsest_as_good,
)
from tests.rubric_worker.methods.autorubric_t2i.simulated import simulate, true_weights


@given(st.lists(st.sampled_from("abcdefgh"), min_size=4, max_size=40), st.integers(2, 10), st.integers(0, 9))
def test_every_part_leaves_two_rows_to_fit_to(clusters: list[str], num_parts: int, seed: int) -> None:
    part_of = parts(clusters, num_parts=num_parts, seed=seed)
    sizes = np.bincount(part_of)
    assert len(part_of) == len(clusters)
    assert 2 <= len(sizes) <= num_parts
    assert sizes.min() >= 1
    assert len(clusters) - sizes.max() >= 2


def test_pairs_of_one_prompt_are_never_on_both_sides() -> None:
    clusters = [f"prompt {number % 7}" for number in range(50)]
    part_of = parts(clusters, num_parts=3, seed=0)
    assert len({(cluster, part) for cluster, part in zip(clusters, part_of, strict=True)}) == 7


def test_the_part_of_a_prompt_does_not_depend_on_the_order_of_the_rows() -> None:
    clusters = [f"prompt {number % 7}" for number in range(50)]
    before = dict(zip(clusters, parts(clusters, num_parts=3, seed=0), strict=True))
    after = dict(zip(clusters[::-1], parts(clusters[::-1], num_parts=3, seed=0), strict=True))
    assert before == after


def test_the_sparsest_within_one_standard_error_is_taken() -> None:
    left_out = LeftOut(
        c=np.array([0.1, 0.2, 0.4, 0.8]),
        loss=np.array([0.69, 0.55, 0.50, 0.52]),
        standard_error=np.array([0.01, 0.04, 0.06, 0.05]),
    )
    assert sparsest_as_good(left_out, one_standard_error=True) == 1  # 0.55 ≤ 0.50 + 0.06
    assert sparsest_as_good(left_out, one_standard_error=False) == 2


def test_the_grid_is_even_on_a_logarithmic_scale() -> None:
    assert grid(0.01, 100.0, 5) == pytest.approx([0.01, 0.1, 1, 10, 100])


def test_penalties_are_tried_until_the_loss_has_clearly_risen() -> None:
    shown = simulate(100, true_weights(0, num_candidates=60), seed=0, judge_noise=1.0)
    values = grid(0.01, 1000.0, 25)
    left_out = cross_validate(shown.differences, shown.prompts, grid=values, folds=5, seed=0)
    best = int(np.argmin(left_out.loss))
    assert len(left_out.c) < len(values)
    assert 0 < best < len(left_out.c) - 1
    assert left_out.loss[-1] > left_out.loss[best] + 3 * left_out.standard_error[best]
    assert left_out.loss[0] == pytest.approx(np.log(2))  # all weights are 0
