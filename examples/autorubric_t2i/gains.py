"""What training was worth: scores, wins and the ground truth, tuned against base on the same prompts and noises.

Owns the numbers that the example holds itself to. The one rule: an interval, not a mean, says whether something rose;
pictures of one prompt hang together, so whole prompts are drawn when intervals are estimated.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arr.demo.outcome import Evaluation, Outcome
from services.rubric_worker.evaluation.intervals import Bootstrap
from shared_schemas.evaluations import Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreGain:
    """Mean scores at one evaluation, as shares of the highest score there is."""

    step: int
    base: float
    tuned: float
    gain: Estimate
    """Tuned − base, with its 95 % interval."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gains:
    """Everything that can have risen."""

    scores: tuple[ScoreGain, ...]
    """One per evaluation."""
    truth: Estimate
    """Share of clean drawings of their prompt, tuned − base, at the end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One thing that must hold."""

    name: str
    measured: str
    is_met: bool


def gains_of(outcome: Outcome, *, total_weight: float, seed: int = 0) -> Gains:
    """Gains of a finished run; `total_weight` is the score of a picture that meets every criterion for certain.

    Raises `ValueError` when no pair of an evaluation was judged.
    """
    num_columns = outcome.base_right_RC.shape[1]
    prompts = [prompt for prompt in outcome.prompts for _ in range(num_columns)]
    bootstrap = Bootstrap(prompts, seed=seed)
    difference = outcome.last.right_RC.astype(np.float64) - outcome.base_right_RC
    return Gains(
        scores=tuple(_score_gain(each, bootstrap, total_weight=total_weight) for each in outcome.evaluations),
        truth=_known(bootstrap.mean_difference(difference.ravel())),
    )


def targets_of(outcome: Outcome, gains: Gains) -> tuple[Target, ...]:
    """What must have risen: the score, the wins by score, and the ground truth that had no say in it."""
    rate, score = outcome.last.overall, gains.scores[-1]
    wins = Estimate(value=rate.win_rate, low=rate.low, high=rate.high)
    return (
        _above("mean score, tuned − base", score.gain, 0.0),
        _above("win rate against the base", wins, 0.5),
        _above("ground truth, tuned − base", gains.truth, 0.0),
    )


def _score_gain(evaluation: Evaluation, bootstrap: Bootstrap, *, total_weight: float) -> ScoreGain:
    tuned_N, base_N = _scores(evaluation) / total_weight
    return ScoreGain(
        step=evaluation.step,
        base=float(np.nanmean(base_N)),
        tuned=float(np.nanmean(tuned_N)),
        gain=_known(bootstrap.mean_difference(tuned_N - base_N)),
    )


def _scores(evaluation: Evaluation) -> NDArray[np.float64]:
    """[2, N] scores of the tuned pictures and of the base's; NaN where a pair was not judged."""
    pairs = [pair.result.scores or (np.nan, np.nan) for pair in evaluation.pairs]
    return np.array(pairs, dtype=np.float64).T


def _known(estimate: Estimate | None) -> Estimate:
    if estimate is None:
        raise ValueError("no pair of the evaluation was judged")
    return estimate


def _above(name: str, estimate: Estimate, floor: float) -> Target:
    measured = f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"
    return Target(name=f"{name}, interval above {floor:g}", measured=measured, is_met=estimate.low > floor)
