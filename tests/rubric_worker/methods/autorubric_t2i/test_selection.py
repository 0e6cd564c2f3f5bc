"""What is found among distractors by a simulated judge, and what becomes of gaps and of data that says nothing."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from services.rubric_worker.job_kinds import JobFailedError
from services.rubric_worker.methods.autorubric_t2i.selection import accuracy, complete_block, largest, select
from services.rubric_worker.methods.autorubric_t2i.stable_set import stable_set
from shared_schemas.autorubric import AutoRubricParameters
from tests.rubric_worker.methods.autorubric_t2i.simulated import NUM_TRUE, Simulated, simulate, true_weights

OPTIONS = AutoRubricParameters()
SEEDS = range(4)


def pairs_and_others(seed: int, *, num_candidates: int = 200) -> tuple[Simulated, Simulated]:
    """256 pairs to learn from and 4000 to measure on, by the same people."""
    weights = true_weights(seed, num_candidates=num_candidates)
    return simulate(256, weights, seed=seed), simulate(4000, weights, seed=1000 + seed)


def mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def test_stability_selection_finds_ten_true_criteria_among_two_hundred() -> None:
    precision, recall, lost = [], [], []
    for seed in SEEDS:
        shown, others = pairs_and_others(seed)
        block = complete_block(shown.differences, min_share=0.8)
        found = stable_set(shown.differences, shown.prompts, block, OPTIONS, seed=seed)
        right = [place for place in found.places if place < NUM_TRUE]
        precision.append(len(right) / len(found.places))
        recall.append(len(right) / NUM_TRUE)
        lost.append((accuracy(others.oracle) or 0) - (accuracy(others.differences @ found.weights) or 0))
    assert mean(precision) >= 0.9
    assert mean(recall) >= 0.9
    assert mean(lost) <= 0.04


def test_the_top_n_rank_held_out_pairs_nearly_as_well_as_the_truth_does() -> None:
    lost = []
    for seed in SEEDS:
        shown, others = pairs_and_others(seed)
        selection = select(shown.differences, shown.prompts, OPTIONS, seed=seed)
        assert set(range(NUM_TRUE)) <= set(selection.kept)
        assert len(selection.kept) <= 20
        lost.append((accuracy(others.oracle) or 0) - (accuracy(selection.margins(others.differences)) or 0))
    assert mean(lost) <= 0.04


def test_what_people_decide_against_is_reported_and_not_kept() -> None:
    shown = simulate(256, true_weights(0, num_candidates=30), seed=0)
    turned = shown.differences * np.where(np.arange(30) == 3, -1.0, 1.0)
    selection = select(turned, shown.prompts, OPTIONS, seed=0)
    assert selection.negative[0] == 3
    assert 3 not in selection.kept
    assert selection.weights[3] < 0


def test_equal_pairs_and_seeds_give_equal_weights_in_any_order() -> None:
    shown, _ = pairs_and_others(1, num_candidates=50)
    order = np.random.default_rng(0).permutation(256)
    selection, again, shuffled = (
        select(differences, prompts, OPTIONS, seed=0)
        for differences, prompts in [
            (shown.differences, shown.prompts),
            (shown.differences, shown.prompts),
            (shown.differences[order], [shown.prompts[place] for place in order]),
        ]
    )
    assert np.array_equal(selection.weights, again.weights)
    assert shuffled.path.chosen_c == selection.path.chosen_c
    np.testing.assert_allclose(shuffled.weights, selection.weights, atol=2e-4)


def test_a_fixed_penalty_is_taken_as_it_is_and_nothing_is_left_out() -> None:
    shown, _ = pairs_and_others(2, num_candidates=50)
    selection = select(shown.differences, shown.prompts, AutoRubricParameters(c=0.3, c_steps=5), seed=0)
    assert selection.path.chosen_c == 0.3
    assert selection.path.left_out is None
    assert selection.path.weights.shape == (5, 50)


def test_a_stronger_penalty_leaves_fewer_weights() -> None:
    shown, _ = pairs_and_others(3, num_candidates=50)
    counts = [
        np.count_nonzero(select(shown.differences, shown.prompts, AutoRubricParameters(c=c, c_steps=2), seed=0).weights)
        for c in (0.1, 0.3, 3.0)
    ]
    assert counts == sorted(set(counts))


def test_only_the_top_n_are_kept() -> None:
    shown, _ = pairs_and_others(4, num_candidates=50)
    selection = select(shown.differences, shown.prompts, AutoRubricParameters(max_criteria=4), seed=0)
    assert selection.kept == largest(selection.weights)[:4]
    assert len(largest(selection.weights)) > 4


def test_rarely_answered_criteria_are_dropped_and_pairs_without_answers_left_out() -> None:
    shown = simulate(100, true_weights(5, num_candidates=15), seed=5)
    differences = shown.differences.copy()
    differences[:30, 2] = np.nan  # answered for 70 %
    differences[7] = np.nan  # an image that failed
    differences[50, 4] = np.nan
    selection = select(differences, shown.prompts, OPTIONS, seed=0)
    assert np.flatnonzero(~selection.block.columns).tolist() == [2]
    assert np.flatnonzero(~selection.block.rows).tolist() == [7, 50]
    assert selection.weights[2] == 0
    assert selection.block.answered_shares[2] == pytest.approx(70 / 99)
    assert selection.block.answered_shares[0] == 1.0


def test_gaps_all_over_the_place_cost_criteria_before_they_cost_most_pairs() -> None:
    """Each of 20 criteria lacks 10 % of the pairs, others than the rest: no pair is complete."""
    differences = np.ones((200, 20))
    for column in range(20):
        differences[column * 10 : column * 10 + 10 + 10 * (column % 2), column] = np.nan
    block = complete_block(differences, min_share=0.8)
    assert block.rows.sum() >= 160
    assert 1 <= block.columns.sum() < 20
    assert not np.isnan(differences[np.ix_(block.rows, block.columns)]).any()


def refusal(differences: NDArray[Any], options: AutoRubricParameters = OPTIONS) -> JobFailedError:
    with pytest.raises(JobFailedError) as caught:
        select(differences, [str(number) for number in range(len(differences))], options, seed=0)
    return caught.value


def test_scores_that_are_all_equal_are_refused() -> None:
    assert refusal(np.zeros((20, 5))).reason == "nothing-selected"


def test_criteria_that_the_judge_never_answers_are_refused() -> None:
    assert refusal(np.full((20, 5), np.nan)).reason == "nothing-scored"


def test_too_few_pairs_with_scores_are_refused() -> None:
    assert refusal(np.ones((3, 2))).reason == "too-few-pairs"


def test_criteria_that_all_point_the_wrong_way_are_refused() -> None:
    failure = refusal(-np.abs(simulate(50, true_weights(0, num_candidates=12), seed=0).differences) - 0.1)
    assert failure.reason == "nothing-selected"
    assert "positive weight" in failure.detail


def test_a_penalty_that_leaves_nothing_is_refused() -> None:
    shown = simulate(50, true_weights(0, num_candidates=12), seed=0)
    assert refusal(shown.differences, AutoRubricParameters(c=1e-5)).reason == "nothing-selected"


def test_four_pairs_of_one_prompt_are_weighed() -> None:
    """Too few for parts by prompt: rows are shared out."""
    selection = select(np.full((4, 2), [0.4, 0.0]), ["same"] * 4, OPTIONS, seed=0)
    assert selection.kept == (0,)


def test_equal_rewards_count_half() -> None:
    assert accuracy(np.array([1.0, 0.0, -2.0, np.nan])) == pytest.approx(0.5)
    assert accuracy(np.array([np.nan])) is None
