"""Whether a judge is right as often as it says: reliability, calibration error, Brier score.

With margins m [N] and what people prefer y [N] (1 = the first image, −1 = the second), p = sigmoid(m·y / T) is the
probability that the judge gives to what people prefer. Its confidence is max(p, 1 − p), and it is right where p > ½.
"""

from dataclasses import dataclass

import numpy as np

from services.rubric_worker.evaluation.columns import Flags, Numbers, Verdicts
from shared_schemas.evaluations import ReliabilityBin

NUM_BINS = 10
"""Of equal width, from ½ to 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reliability:
    """The figures of one set of pairs."""

    bins: tuple[ReliabilityBin, ...]
    """Those that hold a pair."""
    ece: float
    """Expected calibration error: the bins' |accuracy − confidence|, weighted by their pairs (Naeini et al. 2015)."""
    brier: float
    """Mean of (1 − p)² (Brier 1950)."""


def reliability(margins: Numbers, labels: Verdicts, *, temperature: float = 1.0) -> Reliability:
    """Of pairs with a preference: no label is 0, and there is at least one. A margin of 0 is half right."""
    p = sigmoid(margins * labels / temperature)
    confidence = sigmoid(np.abs(margins) / temperature)  # max(p, 1 − p), rounded alike for both signs
    right = np.where(margins == 0, 0.5, (margins * labels > 0).astype(np.float64))
    bin_of_pair = np.minimum(((confidence - 0.5) * 2 * NUM_BINS).astype(np.intp), NUM_BINS - 1)
    bins = tuple(_bin(int(number), confidence, right, bin_of_pair == number) for number in np.unique(bin_of_pair))
    ece = sum(one.num_pairs * abs(one.accuracy - one.confidence) for one in bins) / len(labels)
    return Reliability(bins=bins, ece=ece, brier=float(np.mean((1 - p) ** 2)))


def sigmoid(x: Numbers) -> Numbers:
    """1 / (1 + e^−x), element by element, without overflow."""
    small = np.exp(-np.abs(x))
    p: Numbers = np.where(x >= 0, 1.0, small) / (1 + small)
    return p


def _bin(number: int, confidence: Numbers, right: Numbers, inside: Flags) -> ReliabilityBin:
    return ReliabilityBin(
        low=0.5 + number / (2 * NUM_BINS),
        high=0.5 + (number + 1) / (2 * NUM_BINS),
        num_pairs=int(inside.sum()),
        confidence=float(confidence[inside].mean()),
        accuracy=float(right[inside].mean()),
    )
