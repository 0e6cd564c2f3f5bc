"""How far verdicts on pairs agree: with people, and with themselves.

A verdict is 1 (the first image is better), −1 (the second) or 0 (a tie). The one rule: which image of a pair happens to
be listed first makes no difference.
"""

import numpy as np

from services.rubric_worker.evaluation.columns import Numbers, Verdicts


def correctness(verdicts: Verdicts, labels: Verdicts) -> Numbers:
    """[N] 1 where the verdict is the label, ½ where it is a tie, else 0; NaN for pairs that people call a tie."""
    right = np.where(verdicts == 0, 0.5, (verdicts == labels).astype(np.float64))
    return np.where(labels == 0, np.nan, right)


def tie_aware_accuracy(verdicts: Verdicts, labels: Verdicts) -> float | None:
    """Share of pairs whose verdict is the label, ties being right where people call it a tie; none without such pairs.

    The pairwise accuracy of Deutsch, Foster & Freitag, "Ties Matter" (2023, arXiv 2305.14324).
    """
    return float(np.mean(verdicts == labels)) if (labels == 0).any() else None


def kappa(a: Verdicts, b: Verdicts) -> float:
    """Cohen's κ (1960) = (agreement − agreement by chance) / (1 − agreement by chance) over −1, 0 and 1.

    Every pair counts both ways round, (a, b) and (−a, −b): then 1 and −1 are equally frequent on each side, and a data
    set that lists the better image first has no other κ than one that does not. 1 when both say one thing always.
    """
    agreement = np.mean(a == b)
    ties_a, ties_b = np.mean(a == 0), np.mean(b == 0)
    by_chance = ties_a * ties_b + (1 - ties_a) * (1 - ties_b) / 2
    return 1.0 if by_chance == 1 else float((agreement - by_chance) / (1 - by_chance))


def noise_floor(margins: Numbers, again: Numbers) -> float:
    """95th percentile of |margin − margin of a second run|: what a margin changes by although nothing changed."""
    return float(np.percentile(np.abs(margins - again), 95))
