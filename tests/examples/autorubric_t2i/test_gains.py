"""Gains by hand-computed numbers."""

import numpy as np
import pytest

from arr.demo.outcome import Evaluation, JudgedPair, Outcome
from examples.autorubric_t2i.gains import gains_of, targets_of
from shared_schemas.reward import GroupError, GroupResult, Status
from trainer.evaluation.win_rates import win_rate

PROMPTS = ("a red circle", "a blue square", "a green triangle")
GRID = np.zeros((96, 64, 3), np.uint8)


def _pair(tuned: float, base: float) -> GroupResult:
    ranks = (1.5, 1.5) if tuned == base else (1.0, 2.0) if tuned > base else (2.0, 1.0)
    scores = (tuned, base)
    return GroupResult(id="pair", status=Status.SCORED, rewards=scores, ranks=ranks, scores=scores)


_FAILED = GroupResult(
    id="pair", status=Status.FAILED, error=GroupError(type="judge-timeout", detail="too slow", retryable=True)
)


def _outcome(results: list[GroupResult], *, right: list[bool], base_right: list[bool]) -> Outcome:
    """Three prompts by two noises."""
    right_RC, base_right_RC = np.array(right).reshape(3, 2), np.array(base_right).reshape(3, 2)
    pairs = tuple(
        JudgedPair(prompt=PROMPTS[index // 2], noise=index % 2, result=each) for index, each in enumerate(results)
    )
    rate = win_rate(results)
    evaluation = Evaluation(
        step=10,
        overall=rate,
        held_out=rate,
        accuracy=float(right_RC.mean()),
        held_out_accuracy=0.0,
        grid=GRID,
        right_RC=right_RC,
        pairs=pairs,
    )
    return Outcome(
        prompts=PROMPTS,
        held_out=(False, False, True),
        base_accuracy=float(base_right_RC.mean()),
        base_held_out_accuracy=0.0,
        base_grid=GRID,
        base_right_RC=base_right_RC,
        evaluations=(evaluation,),
        steps=(),
    )


def test_scores_are_shares_of_the_highest_score() -> None:
    outcome = _outcome([_pair(8.0, 4.0)] * 6, right=[True] * 6, base_right=[False] * 6)
    (score,) = gains_of(outcome, total_weight=8.0).scores
    assert (score.step, score.base, score.tuned, score.gain.value) == (10, 0.5, 1.0, 0.5)


def test_the_truth_counts_drawings_won_and_lost() -> None:
    right, base_right = [True, True, True, False, True, False], [False, True, False, False, True, True]
    truth = gains_of(_outcome([_pair(1.0, 0.0)] * 6, right=right, base_right=base_right), total_weight=1.0).truth
    assert truth.value == pytest.approx((2 - 1) / 6)
    assert truth.low < 0 < truth.high


def test_a_pair_that_was_not_judged_has_no_say() -> None:
    outcome = _outcome([_pair(2.0, 1.0)] * 5 + [_FAILED], right=[True] * 6, base_right=[True] * 6)
    (score,) = gains_of(outcome, total_weight=2.0).scores
    assert (score.base, score.tuned, score.gain.value) == (0.5, 1.0, 0.5)


def test_a_mean_that_rose_by_one_prompt_alone_meets_no_target() -> None:
    results = [_pair(3.0, 1.0)] * 2 + [_pair(1.0, 1.0)] * 4
    outcome = _outcome(results, right=[True] * 6, base_right=[False] * 2 + [True] * 4)
    gains = gains_of(outcome, total_weight=3.0)
    assert gains.scores[0].gain.value == pytest.approx(2 / 9)
    assert [target.is_met for target in targets_of(outcome, gains)] == [False, False, False]


def test_what_rose_everywhere_meets_every_target() -> None:
    results = [_pair(2.0, base) for base in (1.2, 1.2, 1.0, 1.0, 0.8, 0.8)]
    outcome = _outcome(results, right=[True] * 6, base_right=[False] * 5 + [True])
    targets = targets_of(outcome, gains_of(outcome, total_weight=2.0))
    assert [target.is_met for target in targets] == [True, True, True]
    assert targets[0].measured == "+0.500 [+0.400, +0.600]"
