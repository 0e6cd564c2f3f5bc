"""How margins are to be read: the temperature that makes them probabilities, and the width of a tie.

Fitted on labelled pairs, for one rubric set and one judge. Pure functions of numbers; where the result is kept is
`services.storage.rubric_records`' business.
"""

import math

import numpy as np

from services.rubric_worker.evaluation.columns import Numbers, Verdicts
from services.rubric_worker.evaluation.confidence import reliability, sigmoid
from shared_schemas.rubrics import Calibration

MIN_TEMPERATURE = 0.01
MAX_TEMPERATURE = 100.0
"""Where the search ends: reached by pairs that say nothing about it, such as margins that are always wrong."""

MIN_TIES = 5
"""Pairs that people call a tie, below which they do not say how wide a tie is."""

_NUM_HALVINGS = 60
"""Of the interval of log T: more than a double can tell apart."""


def fit(
    margins: Numbers,
    labels: Verdicts,
    *,
    default_tie_margin: float,
    noise_floor: float | None,
    dataset: str,
    job: int | None = None,
) -> Calibration:
    """The calibration of `margins` [N] to `labels` [N] (1 = the first image, −1 = the second, 0 = a tie).

    The tie margin is the largest of `default_tie_margin`, the `noise_floor` if it was measured, and what fits the pairs
    that people call a tie, if there are `MIN_TIES`. At least one label is a preference.
    """
    preferring = labels != 0
    temperature = fit_temperature(margins[preferring], labels[preferring])
    tie_margin = max(default_tie_margin, noise_floor or 0.0)
    if (~preferring).sum() >= MIN_TIES:
        tie_margin = max(tie_margin, fit_tie_margin(margins, labels))
    return Calibration(
        temperature=temperature,
        tie_margin=tie_margin,
        ece=reliability(margins[preferring], labels[preferring], temperature=temperature).ece,
        num_pairs=int(preferring.sum()),
        dataset=dataset,
        job=job,
    )


def fit_temperature(margins: Numbers, labels: Verdicts) -> float:
    """T by maximum likelihood of p = sigmoid(m·y / T) with the target (N + 1) / (N + 2) in place of 1.

    The target is Platt's (1999), Laplace's rule of succession: N pairs that are all right do not prove that the next
    one is, and without it they would make T as small as the search allows. With β = 1/T the loss
    −Σ t log p + (1 − t) log(1 − p) is convex, so its one minimum is where its slope Σ (p − t)·m·y changes sign; found
    by halving the interval of log T. 1 when all margins are 0.
    """
    advantage = margins * labels
    if not advantage.any():
        return 1.0
    target = (len(labels) + 1) / (len(labels) + 2)
    low, high = math.log(MIN_TEMPERATURE), math.log(MAX_TEMPERATURE)
    for _ in range(_NUM_HALVINGS):
        middle = (low + high) / 2
        if ((sigmoid(advantage * math.exp(-middle)) - target) * advantage).sum() > 0:  # too sure: T must be larger
            low = middle
        else:
            high = middle
    return min(max(math.exp((low + high) / 2), MIN_TEMPERATURE), MAX_TEMPERATURE)


def fit_tie_margin(margins: Numbers, labels: Verdicts) -> float:
    """The smallest tie margin with the greatest tie-aware accuracy ("tie calibration", arXiv 2305.14324).

    Between the widest margin that is to be a tie and the next one, it lies in the middle.
    """
    order = np.argsort(np.abs(margins), kind="stable")
    widths = np.abs(margins)[order]
    won = (labels == 0).astype(np.intp)
    lost = ((labels != 0) & (np.sign(margins) == labels)).astype(np.intp)
    gains = np.concatenate([[0], np.cumsum((won - lost)[order])])
    # The k narrowest margins can be ties and the others not only where the next one is really wider.
    possible = np.concatenate([[True], widths[:-1] < widths[1:], [True]])
    num_ties = int(np.argmax(np.where(possible, gains, gains.min() - 1)))
    if num_ties == 0:
        return 0.0
    if num_ties == len(widths):
        return float(np.nextafter(widths[-1], np.inf))
    return float((widths[num_ties - 1] + widths[num_ties]) / 2)
