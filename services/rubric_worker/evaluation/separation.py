"""How well single criteria tell preferred images from others, and which of them say the same.

Works on score differences [N, C]: of every pair with a preference, the preferred image's p(yes) minus the other's, for
each criterion; NaN where one is missing.
"""

import numpy as np

from services.rubric_worker.evaluation.columns import Numbers
from services.rubric_worker.evaluation.intervals import Bootstrap
from shared_schemas.evaluations import Estimate

_FLAT = 1e-12
"""Differences that vary less than this do so by rounding."""


def pairwise_auc(differences: Numbers, bootstrap: Bootstrap) -> Estimate | None:
    """P(the preferred image scores higher) + ½ P(both score the same), over the pairs [N] of one criterion.

    The area under the ROC curve when every preferred image is compared with its own rival alone. None without any pair.
    """
    wins = np.where(differences == 0, 0.5, (differences > 0).astype(np.float64))
    return bootstrap.mean(np.where(np.isnan(differences), np.nan, wins))


def redundancy(differences: Numbers) -> tuple[tuple[float, ...], ...]:
    """[C, C] Pearson correlation of the criteria's score differences, over the pairs that both have.

    Near 1, two criteria say the same about images of which people prefer one: drop the weaker. A criterion whose
    differences never vary correlates with none: 0, and 1 with itself.
    """
    columns = list(enumerate(differences.T))
    return tuple(tuple(1.0 if i == j else _correlation(first, second) for j, second in columns) for i, first in columns)


def _correlation(first: Numbers, second: Numbers) -> float:
    both = ~(np.isnan(first) | np.isnan(second))
    if not both.any():
        return 0.0
    centred = [column[both] - column[both].mean() for column in (first, second)]
    scale = np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum())
    return float(np.clip(centred[0] @ centred[1] / scale, -1, 1)) if scale > _FLAT else 0.0
